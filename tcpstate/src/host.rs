//! The machine and this process: what may be done here, and what the names on the command line mean.
//!
//! What the machine allows is read here and nowhere else.

pub(crate) mod bounded;
mod cgroups;
pub mod inherited;
mod initial;
mod interfaces;
pub(crate) mod kallsyms;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod memory;
mod mountinfo;
pub(crate) mod mounts;
pub mod namespaces;
pub(crate) mod netns_mounts;
pub(crate) mod nsfs;
pub mod pids;
pub mod preflight;
pub(crate) mod privileges;
pub(crate) mod processes;
mod status;
pub mod stderr;
pub(crate) mod sysfs;
pub mod terminal;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::pids::Pids;

/// Why something named on the command line was refused.
#[derive(Debug, Error)]
pub enum HostError {
    /// No process of this id.
    #[error("no process `{0}`: `--pid` wants a running process")]
    NoProcess(u32),
    /// The id of a thread that is not the process's first.
    #[error("`{thread}` is a thread of process `{process}`: sockets belong to processes; use `--pid {process}`")]
    Thread {
        /// What was given.
        thread: u32,
        /// Its thread group.
        process: u32,
    },
    /// We run in a pid namespace of our own, which no process can leave (`pidns_install()`, `kernel/pid_namespace.c`).
    #[error(
        "this is a nested pid namespace, where process ids differ from the kernel's: run tcpstate on the host, or in a container that \
         has the host's pid namespace (`--pid host` of Docker and Podman, `hostPID` of Kubernetes)"
    )]
    NestedPids,
    /// A mount namespace was entered without the pid namespace that it belongs to.
    #[error(
        "`/proc` is of a pid namespace that tcpstate is not in, as after `nsenter --mount` without `--pid`: give it one of its own, \
         with `unshare --mount-proc tcpstate …`"
    )]
    ForeignProc,
    /// A root file system without it.
    #[error("there is no `/proc`: mount it with `mount -t proc proc /proc`")]
    NoProc,
    /// No cgroup2 file system.
    #[error("no cgroup2 file system is mounted: mount one with `mount -t cgroup2 none /sys/fs/cgroup`")]
    NoCgroup2,
    /// No such cgroup.
    #[error("no cgroup `{}`: give a directory below `{}`, or its path from there as in `/proc/PID/cgroup`", .path.display(), .mount.display())]
    NoCgroup {
        /// What was given.
        path: PathBuf,
        /// Where cgroup2 is mounted.
        mount: PathBuf,
    },
    /// A directory elsewhere, such as in a cgroup v1 hierarchy, or a file.
    #[error("`{}` is no directory of cgroup v2: give one below `{}`", .path.display(), .mount.display())]
    NotCgroup2 {
        /// What was given.
        path: PathBuf,
        /// Where cgroup2 is mounted.
        mount: PathBuf,
    },
    /// No such namespace.
    #[error(
        "no network namespace `{}`: give a name of `ip netns`, a path such as `/proc/PID/ns/net`, or an inode number",
        .0.display()
    )]
    NoNetns(PathBuf),
    /// A file that is something else.
    #[error("`{}` is no network namespace: give a name of `ip netns`, or a path such as `/proc/PID/ns/net`", .0.display())]
    NotNetns(PathBuf),
    /// No such interface.
    #[error("no interface `{name}` in this network namespace: give a name or a number that `ip link` shows")]
    Interface {
        /// What was given.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The system would not tell.
    #[error("failed to read `{}`", .path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Where to look, and what is known of our own process.
#[derive(Clone, Debug)]
pub struct Host {
    /// The proc file system.
    pub proc: PathBuf,
    /// Where `ip netns` keeps names.
    pub netns_names: PathBuf,
    /// Whose process ids ours are.
    pub pids: Pids,
    /// Bytes in a page.
    pub page_size: u32,
    /// Whether standard output is a terminal that understands colours.
    pub colors: bool,
}

impl Host {
    /// This machine and this process's environment.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            netns_names: PathBuf::from("/run/netns"),
            pids: Pids::detect(Path::new("/proc")),
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
            colors: terminal::shows_colors(&io::stdout()),
        }
    }
}

/// The text of a file that the command line names, which may be a pipe. Whoever may write to its directory may have put another thing
/// there.
///
/// # Errors
///
/// When it cannot be read, is no text, or longer than so many bytes.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    bounded::whole_text(path, most)
}
