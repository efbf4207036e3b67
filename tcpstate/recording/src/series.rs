//! The files of a recording that is rotated: `FILE`, before it `FILE.1`, before that `FILE.2` and so on.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use tcpstate_outfile::{Directory, FileId, Regular, There};

/// Numbers that others have are passed over, so many at most.
const PASSED_OVER: u32 = 1000;

/// Names of files that are one recording. Only these are renamed and removed, whatever else has such a name by then.
#[derive(Debug)]
pub(crate) struct FileSeries {
    directory: Directory,
    name: OsString,
    /// Files before the current one that are kept at most.
    most: usize,
    /// Whether other files of our user are replaced.
    overwrite: bool,
    /// Number and identity of those before the current one, the last first; numbers ascend.
    before: Vec<(u32, FileId)>,
}

impl FileSeries {
    /// One that has its first file.
    pub(crate) fn new(directory: Directory, name: OsString, most: Option<u32>, overwrite: bool) -> Self {
        let most = most.map_or(usize::MAX, |files| files.saturating_sub(1) as usize);
        Self { directory, name, most, overwrite, before: Vec::new() }
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// `FILE.1` and so on.
    pub(crate) fn numbered(&self, number: u32) -> OsString {
        let mut name = self.name.clone();
        name.push(format!(".{number}"));
        name
    }

    /// Takes its name from the current file, gives it that of the one before, and so on; removes what is too much.
    ///
    /// # Errors
    ///
    /// When something cannot be renamed or removed.
    pub(crate) fn make_room(&mut self, current: FileId) -> io::Result<()> {
        if self.most == 0 {
            return self.directory.remove(&self.name, current);
        }
        // Somebody may have moved or removed some meanwhile.
        let mut before = std::mem::take(&mut self.before);
        before.retain(|&(number, id)| self.directory.is(&self.numbered(number), id));
        while before.len() >= self.most {
            if let Some((number, id)) = before.pop() {
                self.directory.remove(&self.numbered(number), id)?;
            }
        }
        // From the eldest on, each up to where the one before it is.
        let mut end = None;
        for at in (0..before.len()).rev() {
            let (number, id) = before[at];
            if let Some(free) = self.move_up(&self.numbered(number), number + 1, end, &before)? {
                before[at] = (free, id);
            }
            end = Some(before[at].0);
        }
        let moved = self.move_up(&self.name, 1, end, &before)?;
        self.before = before;
        let Some(number) = moved else {
            let path = self.directory.join(&self.numbered(1));
            let text = format!("`{}` and the names after it are others': move these away", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        };
        self.before.insert(0, (number, current));
        Ok(())
    }

    /// Gives a file the first free number before `end`; `None` where there is none.
    fn move_up(&self, from: &OsStr, begin: u32, end: Option<u32>, before: &[(u32, FileId)]) -> io::Result<Option<u32>> {
        let end = end.unwrap_or_else(|| begin.saturating_add(PASSED_OVER));
        for number in begin..end {
            let to = self.numbered(number);
            match self.directory.rename_to_free(from, &to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.overwrite && self.is_replaced(&to, before) {
                        self.directory.rename_over(from, &to)?;
                        return Ok(Some(number));
                    }
                }
                renamed => return renamed.map(|()| Some(number)),
            }
        }
        Ok(None)
    }

    /// Whether this is the file of an earlier recording of ours.
    fn is_replaced(&self, name: &OsStr, before: &[(u32, FileId)]) -> bool {
        let found = self.directory.look(name);
        matches!(found, Ok(There::Regular(Regular { id, ours: true })) if before.iter().all(|&(_, kept)| kept != id))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// A recording of which each file says which it is.
    struct Scene {
        directory: TempDir,
        series: FileSeries,
        files: u32,
    }

    impl Scene {
        fn new(most: Option<u32>, overwrite: bool) -> Self {
            let directory = tempdir().expect("a directory");
            let (of, name) = Directory::of(&directory.path().join("a")).expect("a directory");
            let mut scene = Self { directory, series: FileSeries::new(of, name, most, overwrite), files: 0 };
            scene.begin();
            scene
        }

        fn at(&self, name: impl AsRef<Path>) -> PathBuf {
            self.directory.path().join(name)
        }

        fn begin(&mut self) {
            self.files += 1;
            fs::write(self.at("a"), format!("file {}", self.files)).expect("disk");
        }

        fn rotate(&mut self) -> io::Result<()> {
            let id = FileId::of(fs::File::open(self.at("a")).expect("there"));
            self.series.make_room(id.expect("open"))?;
            self.begin();
            Ok(())
        }

        /// What is in the directory.
        fn files(&self) -> BTreeMap<String, String> {
            let entries = fs::read_dir(self.directory.path()).expect("a directory");
            let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
            let text = |entry: &fs::DirEntry| {
                let kind = entry.file_type().expect("a type");
                if kind.is_symlink() {
                    return format!("→ {}", fs::read_link(entry.path()).expect("a link").display());
                }
                fs::read_to_string(entry.path()).unwrap_or_else(|_| "directory".to_owned())
            };
            entries.map(|entry| entry.expect("an entry")).map(|entry| (name(&entry), text(&entry))).collect()
        }

        #[track_caller]
        fn assert(&self, expected: &[(&str, &str)]) {
            let expected = expected.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
            assert_eq!(self.files(), expected);
        }
    }

    #[test]
    fn so_many_are_kept() {
        for (most, expected) in [
            (Some(1), &[("a", "file 4")][..]),
            (Some(2), &[("a", "file 4"), ("a.1", "file 3")]),
            (None, &[("a", "file 4"), ("a.1", "file 3"), ("a.2", "file 2"), ("a.3", "file 1")]),
        ] {
            let mut scene = Scene::new(most, false);
            for _ in 0..3 {
                scene.rotate().expect("disk");
            }
            scene.assert(expected);
        }
    }

    /// Whatever others put there, whenever they do.
    #[test]
    fn what_others_have_stays() {
        for overwrite in [false, true] {
            let mut scene = Scene::new(Some(3), overwrite);
            symlink("target", scene.at("a.1")).expect("a link");
            fs::create_dir(scene.at("a.3")).expect("disk");
            scene.rotate().expect("disk");
            scene.rotate().expect("disk");
            let theirs = [("a.1", "→ target"), ("a.3", "directory")];
            scene.assert(&[("a", "file 3"), theirs[0], ("a.2", "file 2"), theirs[1], ("a.4", "file 1")]);
            scene.rotate().expect("disk");
            scene.assert(&[("a", "file 4"), theirs[0], ("a.2", "file 3"), theirs[1], ("a.4", "file 2")]);
        }
    }

    /// By whoever compresses or collects them.
    #[test]
    fn files_may_be_taken_away_meanwhile() {
        let mut scene = Scene::new(Some(3), false);
        scene.rotate().expect("disk");
        scene.rotate().expect("disk");
        fs::rename(scene.at("a.1"), scene.at("kept")).expect("there");
        fs::remove_file(scene.at("a.2")).expect("there");
        fs::write(scene.at("a.2"), "another's").expect("disk");
        scene.rotate().expect("disk");
        scene.rotate().expect("disk");
        scene.assert(&[
            ("a", "file 5"),
            ("a.1", "file 4"),
            ("a.2", "another's"),
            ("a.3", "file 3"),
            ("kept", "file 2"),
        ]);
    }

    #[test]
    fn only_who_overwrites_replaces_an_earlier_recording() {
        for (overwrite, expected) in [
            (true, &[("a", "file 2"), ("a.1", "file 1")][..]),
            (false, &[("a", "file 2"), ("a.1", "earlier"), ("a.2", "file 1")]),
        ] {
            let mut scene = Scene::new(None, overwrite);
            fs::write(scene.at("a.1"), "earlier").expect("disk");
            scene.rotate().expect("disk");
            scene.assert(expected);
        }
    }

    #[test]
    fn no_number_that_is_free_is_an_error() {
        let mut scene = Scene::new(None, false);
        for number in 1..=PASSED_OVER {
            symlink("target", scene.at(format!("a.{number}"))).expect("a link");
        }
        let error = scene.rotate().expect_err("none is free").to_string();
        assert!(error.contains("a.1` and the names after it are others'"), "{error}");
        assert_eq!(fs::read(scene.at("a")).expect("there"), b"file 1");
    }
}
