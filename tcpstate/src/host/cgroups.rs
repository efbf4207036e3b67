//! All cgroups of the host, by id.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    num::NonZeroU64,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Host, HostError, mountinfo};

/// Far deeper than cgroups are nested; the kernel's own limit is configurable.
const DEPTH: usize = 64;
/// Cgroups that are visited, bytes of their paths, and the time that it may take: whom a part of the tree was given makes as many below it as
/// he likes, and events may wait meanwhile.
const MOST: usize = 50_000;
const MOST_BYTES: usize = 16 << 20;
const LONGEST: Duration = Duration::from_millis(500);

impl Host {
    /// Id of a cgroup v2: the inode number of its directory. `path` is absolute, or starts at the cgroup2 mount.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or it is not one of a cgroup2 file system.
    pub fn cgroup_id(&self, path: &Path) -> Result<NonZeroU64, HostError> {
        Ok(self.cgroup(path)?.1)
    }

    /// The directory of a cgroup, and its id.
    fn cgroup(&self, path: &Path) -> Result<(PathBuf, NonZeroU64), HostError> {
        let mount = self.cgroup2_mount()?;
        // `/proc/PID/cgroup` starts its paths with a slash that means the mount.
        let below_mount = mount.join(path.strip_prefix("/").unwrap_or(path));
        let candidates = [path.to_owned(), below_mount];
        let candidates = || candidates.iter().filter(|candidate| candidate.is_absolute());
        let found = |directory: &PathBuf| Some((directory.clone(), cgroup2_inode(directory)?));
        if let Some(found) = candidates().find_map(found) {
            Ok(found)
        } else if candidates().any(|candidate| candidate.exists()) {
            Err(HostError::NotCgroup2 { path: path.to_owned(), mount })
        } else {
            Err(HostError::NoCgroup { path: path.to_owned(), mount })
        }
    }

    /// Where the cgroup2 file system is mounted.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn cgroup2_mount(&self) -> Result<PathBuf, HostError> {
        let mountinfo = self.proc.join("self/mountinfo");
        let table = fs::read(&mountinfo).map_err(|source| HostError::Read { path: mountinfo, source })?;
        mountinfo::cgroup2(&table).ok_or(HostError::NoCgroup2)
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
        let (top, id) = self.cgroup(path)?;
        let mut ids = BTreeSet::from([id.get()]);
        walk(&top, |inode, _| {
            ids.insert(inode);
        });
        Ok(ids)
    }
}

/// Inode number of a directory on a cgroup2 file system.
fn cgroup2_inode(directory: &Path) -> Option<NonZeroU64> {
    let metadata = fs::metadata(directory).ok().filter(fs::Metadata::is_dir)?;
    let file_system = rustix::fs::statfs(directory).ok()?;
    (file_system.f_type == libc::CGROUP2_SUPER_MAGIC).then(|| NonZeroU64::new(metadata.ino()))?
}

/// Visits a directory and what is below it, level by level, as far as the bounds let; those that vanish meanwhile are passed over.
fn walk(top: &Path, mut visit: impl FnMut(u64, &Path)) {
    let began = Instant::now();
    let (mut visited, mut bytes) = (0, 0);
    if let Ok(metadata) = fs::metadata(top) {
        visit(metadata.ino(), top);
    }
    let mut open: VecDeque<(PathBuf, usize)> = VecDeque::from([(top.to_owned(), 0)]);
    while let Some((directory, depth)) = open.pop_front() {
        let entries = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            visited += 1;
            bytes += path.as_os_str().len();
            if visited > MOST || bytes > MOST_BYTES || began.elapsed() > LONGEST {
                tracing::warn!(
                    "more cgroups below `{}` than are looked at, which are {} and no more than {} ms' worth: the others have no path",
                    top.display(),
                    MOST,
                    LONGEST.as_millis()
                );
                return;
            }
            visit(entry.ino(), &path);
            if depth < DEPTH {
                open.push_back((path, depth + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::host::pids::Pids;

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

    /// This machine, as one whose process ids are the kernel's.
    fn host() -> Host {
        Host { pids: Pids::Kernel, ..Host::detect() }
    }

    /// Both outcomes are real: a container may have no cgroup2.
    #[test]
    fn a_cgroup_is_the_inode_of_its_directory() -> io::Result<()> {
        let Some(mount) = mountinfo::cgroup2(&fs::read("/proc/self/mountinfo")?) else {
            assert!(matches!(host().cgroup_id(Path::new("/")), Err(HostError::NoCgroup2)));
            return Ok(());
        };
        let root = Some(fs::metadata(&mount)?.ino());
        let id = |path: &Path| host().cgroup_id(path).map(NonZeroU64::get).ok();
        assert_eq!(id(&mount), root);
        assert_eq!(id(Path::new("/")), root, "as `/proc/PID/cgroup` names the root");
        assert_eq!(id(Path::new("")), root);
        assert_eq!(id(&mount.join("cgroup.procs")), None, "a file is no cgroup");
        assert_eq!(id(Path::new("/proc")), None, "not every directory is a cgroup");
        assert_eq!(id(Path::new("no such cgroup")), None);
        Ok(())
    }

    #[test]
    fn refusals_say_where_cgroups_are() -> io::Result<()> {
        let proc = tempfile::tempdir()?;
        let mount = tempfile::tempdir()?;
        fs::create_dir(proc.path().join("self"))?;
        fs::create_dir(mount.path().join("v1"))?;
        let table = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", mount.path().display());
        fs::write(proc.path().join("self/mountinfo"), table)?;
        let host = Host { proc: proc.path().to_owned(), ..host() };
        let error = |path: &str| host.cgroup_id(Path::new(path)).map_err(|error| error.to_string());
        let mount = mount.path().display();
        assert_eq!(error("v1"), Err(format!("`v1` is no directory of cgroup v2: give one below `{mount}`")));
        let absent = format!(
            "no cgroup `a/b`: give a directory below `{mount}`, or its path from there as in `/proc/PID/cgroup`"
        );
        assert_eq!(error("a/b"), Err(absent));
        fs::write(proc.path().join("self/mountinfo"), "")?;
        assert!(matches!(host.cgroup_id(Path::new("a")), Err(HostError::NoCgroup2)));
        Ok(())
    }
}
