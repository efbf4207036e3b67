//! Which files the tracer and its helpers open, told by the kernel (`fanotify`).

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io::Read as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::PathBuf,
};

use anyhow::{Context, Result};

/// A file by its device and inode.
type Id = (u64, u64);

/// Listens from its making on.
pub(crate) struct Opened {
    events: File,
}

/// A file that was opened.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// Who opened it.
    pub(crate) pid: u32,
    pub(crate) id: Id,
    pub(crate) path: PathBuf,
}

impl Opened {
    /// All files of the file systems that these paths are on.
    pub(crate) fn on(paths: &[PathBuf]) -> Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_UNLIMITED_QUEUE;
        let open = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::fanotify_init(flags, open.cast_unsigned()) };
        checked(fd).context("fanotify")?;
        // SAFETY: a new descriptor, which nobody else has.
        let events = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        for path in paths {
            let path = CString::new(path.to_str().context("a path of UTF-8")?)?;
            let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
            // SAFETY: `path` is a string that ends with a zero.
            let marked = unsafe {
                libc::fanotify_mark(events.as_raw_fd(), flags, libc::FAN_OPEN, libc::AT_FDCWD, path.as_ptr())
            };
            checked(marked).with_context(|| format!("fanotify of {path:?}"))?;
        }
        Ok(Self { events })
    }

    /// What was opened since then, or since the last time.
    pub(crate) fn take(&mut self) -> Result<Vec<Open>> {
        let mut opened = Vec::new();
        let mut buffer = [0; 64 << 10];
        loop {
            let length = match self.events.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(opened),
                Err(error) => return Err(error.into()),
            };
            let mut rest = &buffer[..length];
            while let Some((open, size)) = event(rest)? {
                opened.extend(open);
                rest = &rest[size..];
            }
        }
    }
}

/// The first of these events, and its size. One of a lost event has no file.
fn event(bytes: &[u8]) -> Result<Option<(Option<Open>, usize)>> {
    if bytes.len() < size_of::<libc::fanotify_event_metadata>() {
        return Ok(None);
    }
    // SAFETY: there are that many bytes, and any are one.
    let event: libc::fanotify_event_metadata =
        unsafe { bytes.as_ptr().cast::<libc::fanotify_event_metadata>().read_unaligned() };
    let size = usize::try_from(event.event_len)?;
    if event.fd < 0 {
        return Ok(Some((None, size)));
    }
    // SAFETY: the kernel opened it for this event.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(event.fd) });
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let pid = u32::try_from(event.pid)?;
    Ok(Some((Some(Open { pid, id: id(&file.metadata()?), path }), size)))
}

fn id(metadata: &fs::Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// What a process has mapped.
pub(crate) fn mapped(pid: u32) -> Result<BTreeSet<Id>> {
    let directory = fs::read_dir(format!("/proc/{pid}/map_files"))?;
    let files = directory.map_while(Result::ok).filter_map(|entry| fs::metadata(entry.path()).ok());
    Ok(files.map(|metadata| id(&metadata)).collect())
}

fn checked(result: i32) -> Result<()> {
    if result < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(()) }
}
