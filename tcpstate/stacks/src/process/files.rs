//! Files that another process named.
//!
//! The tracer runs as root and the names come from anybody: a name is resolved below the root of its process, where a
//! symbolic link cannot lead out, and nothing but a regular file is ever opened, since opening a device or a FIFO has
//! effects of its own.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use super::thread;

/// Opens what `path` names for process `pid`, in its own mount namespace and root directory.
///
/// # Errors
///
/// Those of `openat2(2)`; [`io::ErrorKind::InvalidInput`] when it is no regular file.
pub fn open_in_root(pid: u32, path: &Path) -> io::Result<File> {
    let root = open(thread::file(pid, "root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    regular(openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
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

fn regular(path: OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&path)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let again = format!("/proc/self/fd/{}", path.as_raw_fd());
    Ok(open(again, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?.into())
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
