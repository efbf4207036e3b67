//! Network namespaces to visit, and a mount namespace of our own.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};
use tcpstate_stacks::process::thread;

use super::{Host, HostError};

const TRACEFS: &str = "/sys/kernel/tracing";
const SECURITYFS: &str = "/sys/kernel/security";
const DEBUG_TRACEFS: &str = "/sys/kernel/debug/tracing";

/// The one network namespace that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyNetns {
    /// Its inode number.
    pub inode: u32,
    /// What the user called it.
    pub given: String,
    /// Where it can be opened, when the user gave a path.
    pub path: Option<PathBuf>,
}

impl OnlyNetns {
    /// Resolves what the user called it.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn new(given: &OsStr, host: &Host) -> Result<Self, HostError> {
        let inode = host.netns_inode(given)?;
        let path = given.as_encoded_bytes().contains(&b'/').then(|| PathBuf::from(given));
        Ok(Self { inode, given: given.to_string_lossy().into_owned(), path })
    }
}

/// Network namespaces other than our own: of every process, and those that `ip netns` keeps without one.
///
/// Processes and names that vanish meanwhile are passed over.
pub(crate) fn other_network_namespaces() -> Vec<File> {
    let mut seen = HashSet::new();
    if let Ok(own) = fs::metadata("/proc/self/ns/net") {
        seen.insert(own.ino());
    }
    let pids = entries("/proc").filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.map(|pid| thread::file(pid, "ns/net"))
        .chain(entries("/run/netns"))
        .filter_map(|path| {
            let inode = fs::metadata(&path).ok()?.ino();
            seen.insert(inode).then(|| File::open(&path).ok())?
        })
        .collect()
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// Runs `work` in another network namespace, on a thread that ends with it.
///
/// # Errors
///
/// When the namespace cannot be entered (`CAP_SYS_ADMIN`).
pub(crate) fn in_network_namespace<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// Runs `work` where tracefs is mounted: here if it is, else in a mount namespace that only `work`'s thread sees, so that
/// nothing is left mounted.
///
/// # Errors
///
/// When tracefs is not mounted and cannot be.
pub(crate) fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let mounted = [TRACEFS, DEBUG_TRACEFS].iter().any(|path| Path::new(path).join("events").is_dir());
    if mounted { Ok(work()) } else { with_mounted("tracefs", TRACEFS, work) }
}

/// The same for securityfs.
///
/// # Errors
///
/// When securityfs is not mounted and cannot be.
pub(crate) fn with_securityfs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if Path::new(SECURITYFS).join("lsm").exists() { Ok(work()) } else { with_mounted("securityfs", SECURITYFS, work) }
}

fn with_mounted<T: Send>(kind: &str, path: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        // SAFETY: `NEWNS` unshares this thread's root and working directory as well; descriptors stay shared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount(kind, path, kind, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
        Ok(work())
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("tcpstate-ns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
