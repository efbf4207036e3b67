//! Files that another process named.
//!
//! The tracer runs as root and the names come from anybody: a name is resolved below the root of its process, where a
//! symbolic link cannot lead out, and nothing but a regular file is ever opened, since opening a device or a FIFO has
//! effects of its own.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2},
    io::Errno,
};

use super::thread;

/// Larger files are not opened, bytes: no program with its debug info comes near, and a sparse file may seem to have any size.
const MOST_BYTES: i64 = 8 << 30;

/// Opens what `path` names for process `pid`, in its own mount namespace and root directory.
///
/// # Errors
///
/// Those of `openat2(2)`; [`io::ErrorKind::InvalidInput`] when it is no regular file.
pub fn open_in_root(pid: u32, path: &Path) -> io::Result<File> {
    regular(path_in_root(pid, path)?)
}

/// The same, but what `path` names must be no link itself, and the process could read it.
///
/// # Errors
///
/// The same; [`io::ErrorKind::PermissionDenied`] when it could not.
pub(crate) fn open_itself_in_root(pid: u32, path: &Path, accessor: &Accessor) -> io::Result<File> {
    readable(look_up(pid, path, OFlags::NOFOLLOW)?, accessor)
}

fn path_in_root(pid: u32, path: &Path) -> io::Result<OwnedFd> {
    look_up(pid, path, OFlags::empty())
}

fn look_up(pid: u32, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let root = open(thread::file(pid, "root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), resolve)?)
}

/// Opens the file that is mapped at `start` to `end` by process `pid`, also when it has no name any more.
///
/// # Errors
///
/// [`io::ErrorKind::PermissionDenied`] without `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, [`io::ErrorKind::NotFound`]
/// when there is no such mapping, [`io::ErrorKind::InvalidInput`] when it is no regular file.
pub(crate) fn open_mapped(pid: u32, start: u64, end: u64) -> io::Result<File> {
    let link = thread::file(pid, &format!("map_files/{start:x}-{end:x}"));
    regular(open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a file of the tracer's own system.
///
/// # Errors
///
/// Those of `open(2)`; [`io::ErrorKind::InvalidInput`] when it is no regular file.
pub(crate) fn open_here(path: &Path) -> io::Result<File> {
    regular(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// As whom a process opens files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accessor {
    uid: u32,
    gid: u32,
}

impl Accessor {
    /// One who may read what anybody may.
    pub(crate) const ANYBODY: Self = Self { uid: u32::MAX, gid: u32::MAX };

    /// That of process `pid`, by its effective ids; `None` when it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        // A name need not be UTF-8.
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let id = |name| field(name)?.split_ascii_whitespace().nth(1)?.parse().ok();
        Some(Self { uid: id("Uid")?, gid: id("Gid")? })
    }

    /// Whether it may read a file, as far as the bits of its mode tell.
    fn may_read(&self, stat: &Stat) -> bool {
        let mode = Mode::from_raw_mode(stat.st_mode);
        mode.contains(Mode::ROTH)
            || stat.st_uid == self.uid && mode.contains(Mode::RUSR)
            || stat.st_gid == self.gid && mode.contains(Mode::RGRP)
    }
}

/// Opens what `path` names for process `pid`, if the process itself could read it.
///
/// # Errors
///
/// Those of [`open_in_root`]; [`io::ErrorKind::PermissionDenied`] when it could not.
pub(crate) fn open_readable_in_root(pid: u32, path: &Path, accessor: &Accessor) -> io::Result<File> {
    readable(path_in_root(pid, path)?, accessor)
}

/// The same of a file of the tracer's own system.
///
/// # Errors
///
/// The same.
pub(crate) fn open_readable_here(path: &Path, accessor: &Accessor) -> io::Result<File> {
    readable(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?, accessor)
}

fn readable(path: OwnedFd, accessor: &Accessor) -> io::Result<File> {
    if accessor.may_read(&fstat(&path)?) { regular(path) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Opens a file that was found, if it is a regular one of a size that files with code have. Whoever may write it cannot keep us waiting
/// with a lease (`fcntl(2)`).
fn regular(path: OwnedFd) -> io::Result<File> {
    let refuse = |kind, why| Err(io::Error::new(kind, why));
    let stat = fstat(&path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse(io::ErrorKind::InvalidInput, "not a regular file");
    }
    if !(0..=MOST_BYTES).contains(&stat.st_size) {
        return refuse(io::ErrorKind::FileTooLarge, "larger than 8 GiB");
    }
    let again = format!("/proc/self/fd/{}", path.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    match open(again, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(Errno::AGAIN) => refuse(io::ErrorKind::WouldBlock, "somebody holds a lease on it"),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn devices_and_fifos_are_refused() {
        let error = open_in_root(process::id(), Path::new("/dev/null")).expect_err("a device");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(open_here(Path::new("/dev/zero")).expect_err("a device").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn own_executable_opens() {
        let path = std::env::current_exe().expect("own path");
        open_in_root(process::id(), &path).expect("own executable");
    }

    #[test]
    fn a_link_stays_below_the_root() {
        let error = open_in_root(process::id(), Path::new("/proc/self/exe")).expect_err("a magic link");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
