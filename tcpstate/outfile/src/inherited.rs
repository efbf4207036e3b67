//! Descriptors that this process was started with, by the names that shells give them.

use std::{
    ffi::OsStr,
    fs::File,
    os::{
        fd::{BorrowedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
    process,
};

use rustix::{
    fs::{OFlags, fcntl_getfl},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd},
};

use crate::error::OutfileError;

/// The descriptor that a path such as `/dev/stdout` or `/dev/fd/63` means; `None` where it is another kind of path. It is used as it is,
/// at its own position.
///
/// # Errors
///
/// When it is not open for writing, or was not given to us but opened by us: what is given has no `FD_CLOEXEC`, all else has.
pub fn inherited(path: &Path) -> Result<Option<File>, OutfileError> {
    let Some(number) = number(path) else { return Ok(None) };
    let not_handed = || OutfileError::NotHanded(path.to_owned());
    // SAFETY: asked for nothing but its flags before it is known to be open, and copied before anything is done with it; what we open
    // ourselves is not passed on to be closed by others.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let is_given = fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC));
    let is_writable = fcntl_getfl(descriptor).is_ok_and(|flags| {
        let access = flags & OFlags::ACCMODE;
        !flags.contains(OFlags::PATH) && (access == OFlags::WRONLY || access == OFlags::RDWR)
    });
    if !is_given || !is_writable {
        return Err(not_handed());
    }
    let copy = fcntl_dupfd_cloexec(descriptor, 3).map_err(|_| not_handed())?;
    Ok(Some(copy.into()))
}

fn number(path: &Path) -> Option<RawFd> {
    let parts: Vec<&OsStr> = path.components().map(Component::as_os_str).collect();
    let parts: Vec<&[u8]> = parts.into_iter().map(OsStrExt::as_bytes).collect();
    let process = process::id().to_string();
    let number = match parts[..] {
        [b"/", b"dev", b"stdout"] => return Some(1),
        [b"/", b"dev", b"stderr"] => return Some(2),
        [b"/", b"dev", b"fd", number] => number,
        [b"/", b"proc", b"self", b"fd", number] => number,
        [b"/", b"proc", of, b"fd", number] if of == process.as_bytes() => number,
        _ => return None,
    };
    str::from_utf8(number).ok()?.parse().ok().filter(|&number| number >= 0)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, pipe},
        os::fd::AsRawFd as _,
    };

    use rustix::io::fcntl_setfd;

    use super::*;

    #[test]
    fn only_what_was_given_is_used() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let path = |name: &str| Path::new(name).join(writer.as_raw_fd().to_string());
        let ours = inherited(&path("/dev/fd")).expect_err("ours, not given");
        assert!(ours.to_string().contains("is no descriptor for writing that tcpstate was started with"), "{ours}");
        fcntl_setfd(&writer, FdFlags::empty()).expect("open");
        for directory in ["/dev/fd", "/proc/self/fd", &format!("/proc/{}/fd", process::id())] {
            use std::io::Write as _;
            let mut given = inherited(&path(directory)).expect("given").expect("a descriptor");
            given.write_all(b"x").expect("room");
        }
        let mut text = [0; 3];
        reader.read_exact(&mut text).expect("three");
        assert!(inherited(&Path::new("/dev/fd").join(reader.as_raw_fd().to_string())).is_err(), "not for writing");
        assert!(inherited(Path::new("/dev/fd/1000000")).is_err(), "not open");
        assert!(inherited(Path::new("/dev/null")).expect("another kind").is_none());
        assert!(inherited(Path::new("fd/1")).expect("another kind").is_none());
        assert!(inherited(Path::new("/proc/1/fd/1")).expect("another process").is_none());
    }
}
