//! A recording on its way into files. Append-only: what is written is never changed, only a frame that a full disk cut off is
//! taken back.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    mem,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{content::Content, frames::Frames, header::header};

/// When to begin another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file, about: a file ends after the frame that reaches them.
    pub max_size: u64,
    /// Files that are kept, the current one included; `None` for all.
    pub max_files: Option<u32>,
}

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// This file must not be lost.
    #[error("`{}` is there already: give another name, or `--overwrite`", .0.display())]
    Exists(PathBuf),
    /// Their frames would lie one among the other's.
    #[error("another `tcpstate record` writes to `{}`: give another name, or end that one", .0.display())]
    Busy(PathBuf),
    /// A device or a pipe is not renamed.
    #[error("`{}` is no regular file, and only such a one can be rotated: leave out `--max-size`", .0.display())]
    NotRegular(PathBuf),
    /// Something else.
    #[error("failed to make `{}`", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// An open recording.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    rotation: Option<Rotation>,
    /// Bytes of whole frames in the file.
    whole: u64,
    /// Bytes of whole frames in all files.
    written: u64,
    /// Files begun before this one.
    rotated: u32,
    /// What is being written, kept for its memory.
    frames: Frames,
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// When it exists and is not to be overwritten, is being written to, or cannot be made; what was made is removed then.
    pub fn create(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> Result<Self, CreateError> {
        let failed = |source| CreateError::Failed { path: path.to_owned(), source };
        let before = numbered(path, 1);
        if rotation.is_some() && !overwrite && before.exists() {
            return Err(CreateError::Exists(before));
        }
        let (file, regular) = open(path, overwrite).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CreateError::Exists(path.to_owned()),
            io::ErrorKind::WouldBlock => CreateError::Busy(path.to_owned()),
            _ => failed(error),
        })?;
        if rotation.is_some() && !regular {
            return Err(CreateError::NotRegular(path.to_owned()));
        }
        let mut writer =
            Self { path: path.to_owned(), file, rotation, whole: 0, written: 0, rotated: 0, frames: Frames::default() };
        if let Err(error) = writer.begin() {
            // On a full disk: an empty file would only be in the way. A link is not ours to remove.
            if fs::symlink_metadata(path).is_ok_and(|file| file.is_file()) {
                let _ = remove(path);
            }
            return Err(failed(error));
        }
        Ok(writer)
    }

    /// Writes a frame, all of it or nothing.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write(&mut self, content: Content) -> io::Result<()> {
        let mut frames = mem::take(&mut self.frames);
        frames.clear();
        let written = frames.push(content).and_then(|()| self.put(frames.bytes()));
        self.frames = frames;
        written
    }

    /// Writes frames, all or none of them.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write_frames(&mut self, frames: &Frames) -> io::Result<()> {
        self.put(frames.bytes())
    }

    /// Whether the file is as long as it may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rotation.is_some_and(|rotation| self.whole >= rotation.max_size)
    }

    /// Goes on in another file; the one before gets the name `FILE.1`, that of before `FILE.2` and so on, and what is too much
    /// is removed. The caller has ended this file and begins the next.
    ///
    /// # Errors
    ///
    /// When a file cannot be renamed, removed or made.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        let keep = self.rotation.and_then(|rotation| rotation.max_files).map_or(u32::MAX, |files| files - 1);
        let have = self.rotated.min(keep);
        if have == keep && keep > 0 {
            remove(&numbered(&self.path, keep))?;
        }
        for number in (1..=have.min(keep.saturating_sub(1))).rev() {
            fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1))?;
        }
        if keep > 0 {
            fs::rename(&self.path, numbered(&self.path, 1))?;
        } else {
            remove(&self.path)?;
        }
        (self.file, _) = open(&self.path, false)?;
        self.rotated += 1;
        self.whole = 0;
        self.begin()
    }

    /// Files begun before this one.
    #[must_use]
    pub fn rotated(&self) -> u32 {
        self.rotated
    }

    /// Bytes written, in all files.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Has the kernel bring the file to the disk, where it has one: a pipe or a device says `EINVAL` (fsync(2)).
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn sync(&mut self) -> io::Result<()> {
        match self.file.sync_data() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.put(&header())
    }

    /// Appends bytes, all of them or none.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // If this fails, too, the reader finds the frame cut off.
            let _ = self.file.set_len(self.whole);
            return Err(error);
        }
        self.whole += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// Opens a file to write to, empty and locked, and says whether it is a regular one. What is not, such as `/dev/null` or a pipe, has
/// no length and is not locked.
fn open(path: &Path, overwrite: bool) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    // Readable by its owner only: it says what every process of the machine is connected to.
    options.append(true).mode(0o600);
    let file = if overwrite { options.create(true).open(path)? } else { options.create_new(true).open(path)? };
    let regular = file.metadata()?.is_file();
    if regular {
        lock(&file)?;
        file.set_len(0)?;
    }
    Ok((file, regular))
}

/// Until the file is closed. Some file systems of other machines have no locks; there nobody is kept away.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        locked => Ok(locked?),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// `FILE.1` and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use tcpstate_core::model::MonotonicNs;

    use super::*;
    use crate::content::RecordingEnd;

    const ROTATION: Option<Rotation> = Some(Rotation { max_size: 1 << 20, max_files: None });

    fn end() -> Content {
        Content::End(RecordingEnd { at: MonotonicNs(1), rotated: false })
    }

    fn refused(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> String {
        Writer::create(path, overwrite, rotation).expect_err("refused").to_string()
    }

    #[test]
    fn a_file_has_one_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tcps");
        let mut first = Writer::create(&path, false, None).expect("a file");
        let begun = fs::metadata(&path).expect("a file").len();
        let error = refused(&path, true, None);
        assert_eq!(
            error,
            format!("another `tcpstate record` writes to `{}`: give another name, or end that one", path.display())
        );
        assert_eq!(fs::metadata(&path).expect("a file").len(), begun, "what is in it stays");
        first.write(end()).expect("disk");
        drop(first);
        Writer::create(&path, true, None).expect("it is free again");
        assert_eq!(fs::metadata(&path).expect("a file").len(), begun);
    }

    #[test]
    fn what_has_no_disk_is_not_brought_there() {
        let mut writer = Writer::create(Path::new("/dev/null"), true, None).expect("a device");
        writer.sync().expect("nothing to do");
    }

    #[test]
    fn the_file_that_is_there_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tcps");
        let before = directory.path().join("a.tcps.1");
        fs::write(&before, "").expect("a file");
        let is_there =
            |path: &Path| format!("`{}` is there already: give another name, or `--overwrite`", path.display());
        assert_eq!(refused(&path, false, ROTATION), is_there(&before));
        assert!(!path.exists());
        drop(Writer::create(&path, false, None).expect("that of before is in nobody's way"));
        assert_eq!(refused(&path, false, None), is_there(&path));
        let device = Path::new("/dev/null");
        assert!(refused(device, true, ROTATION).starts_with("`/dev/null` is no regular file"));
    }
}
