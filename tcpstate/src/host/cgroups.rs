//! All cgroups of the host, by id.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use super::{Host, HostError, mounts};

/// Far deeper than cgroups are nested; the kernel's own limit is configurable.
const DEPTH: usize = 64;

impl Host {
    /// Where the cgroup2 file system is mounted.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn cgroup2_mount(&self) -> Result<PathBuf, HostError> {
        let mountinfo = self.proc.join("self/mountinfo");
        let table = fs::read(&mountinfo).map_err(|source| HostError::Read { path: mountinfo, source })?;
        mounts::cgroup2(&table).ok_or(HostError::NoCgroup2)
    }

    /// Paths of all cgroups from the cgroup2 mount on, by id: the inode number of the directory.
    ///
    /// # Errors
    ///
    /// When no cgroup2 file system is mounted.
    pub fn cgroup_paths(&self) -> Result<BTreeMap<u64, Vec<u8>>, HostError> {
        let mount = self.cgroup2_mount()?;
        let mut paths = BTreeMap::new();
        walk(&mount, |inode, path| {
            let below = path.strip_prefix(&mount).unwrap_or(path);
            paths.insert(inode, [b"/", below.as_os_str().as_bytes()].concat());
        });
        Ok(paths)
    }

    /// Ids of a cgroup and of all below it. `path` is as in [`Host::cgroup_id`].
    ///
    /// # Errors
    ///
    /// Those of [`Host::cgroup_id`].
    pub fn cgroups_below(&self, path: &Path) -> Result<BTreeSet<u64>, HostError> {
        let id = self.cgroup_id(path)?;
        let mount = self.cgroup2_mount()?;
        let mut ids = BTreeSet::from([id.get()]);
        let top = self.cgroup_paths()?.remove(&id.get());
        if let Some(top) = top {
            let top = mount.join(Path::new(std::ffi::OsStr::from_bytes(top.strip_prefix(b"/").unwrap_or(&top))));
            walk(&top, |inode, _| {
                ids.insert(inode);
            });
        }
        Ok(ids)
    }
}

/// Visits a directory and all below it; those that vanish meanwhile are passed over.
fn walk(top: &Path, mut visit: impl FnMut(u64, &Path)) {
    if let Ok(metadata) = fs::metadata(top) {
        visit(metadata.ino(), top);
    }
    let mut open: Vec<(PathBuf, usize)> = vec![(top.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            visit(entry.ino(), &entry.path());
            if depth < DEPTH {
                open.push((entry.path(), depth + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_is_visited() {
        let top = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(top.path().join("a/b")).expect("writable");
        fs::create_dir(top.path().join("c")).expect("writable");
        fs::write(top.path().join("a/file"), "").expect("writable");
        let mut seen = Vec::new();
        walk(top.path(), |inode, path| {
            assert_eq!(fs::metadata(path).map(|metadata| metadata.ino()).ok(), Some(inode));
            seen.push(path.strip_prefix(top.path()).expect("below").to_owned());
        });
        seen.sort();
        assert_eq!(seen, ["", "a", "a/b", "c"].map(PathBuf::from));
    }
}
