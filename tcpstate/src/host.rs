//! The machine and this process: what may be done here, and what the names on the command line mean.
//!
//! What the machine allows is read here and nowhere else.

mod cgroups;
mod initial;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod mounts;
pub mod namespaces;
pub mod preflight;
pub(crate) mod privileges;
pub(crate) mod processes;
pub mod terminal;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

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
    /// We run in a pid namespace of our own.
    #[error(
        "this is a nested pid namespace, where process ids differ from the kernel's: run tcpstate in the initial one \
         (`nsenter --target 1 --pid`, or a container with the host's pid namespace)"
    )]
    NestedPids,
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
    /// Whether our process ids are the kernel's: those of the initial pid namespace.
    pub initial_pids: bool,
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
            initial_pids: initial::in_initial_pid_namespace(),
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
            colors: terminal::shows_colors(&io::stdout()),
        }
    }
}

/// The text of a file that the command line names.
///
/// # Errors
///
/// When it cannot be read, or is no text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}
