//! What the names on the command line mean on this machine: processes, cgroups, network namespaces.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, IsTerminal},
    num::{NonZeroU32, NonZeroU64},
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::mounts;

/// Inode number of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// `NS_GET_NSTYPE` of `include/uapi/linux/nsfs.h`: the `CLONE_NEW*` flag of a namespace. Since Linux 4.11.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

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
        "`--pid` and this process are of a nested pid namespace, where ids differ from the kernel's: run tcpstate in the \
         initial one (`nsenter --target 1 --pid`, or a container with the host's pid namespace)"
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
    /// A directory elsewhere, such as in a cgroup v1 hierarchy.
    #[error("`{}` is no cgroup v2: give a directory below `{}`", .path.display(), .mount.display())]
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
    /// Bytes in a page.
    pub page_size: u32,
    /// Whether standard output is a terminal that understands colours.
    pub colors: bool,
}

impl Host {
    /// This machine and this process's environment.
    #[must_use]
    pub fn detect() -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            proc: PathBuf::from("/proc"),
            netns_names: PathBuf::from("/run/netns"),
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
            colors: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }

    /// Makes sure that `pid` is a process that the kernel knows by this number.
    ///
    /// # Errors
    ///
    /// When there is no such process, when it is another process's thread, and when ours are not the kernel's numbers.
    pub fn check_process(&self, pid: u32) -> Result<(), HostError> {
        let namespace = self.proc.join("self/ns/pid");
        if self.metadata(&namespace)?.ino() != INITIAL_PID_NAMESPACE {
            return Err(HostError::NestedPids);
        }
        let status = match fs::read(self.proc.join(pid.to_string()).join("status")) {
            Err(error) if is_absent(&error) => return Err(HostError::NoProcess(pid)),
            Err(source) => return Err(HostError::Read { path: self.proc.join(pid.to_string()), source }),
            Ok(status) => status,
        };
        match thread_group(&status) {
            Some(process) if process != pid => Err(HostError::Thread { thread: pid, process }),
            _ => Ok(()),
        }
    }

    /// Inode number of a network namespace, given by name, path or that very number.
    ///
    /// # Errors
    ///
    /// When it is none of these.
    pub fn netns_inode(&self, name: &OsStr) -> Result<u32, HostError> {
        let given = PathBuf::from(name);
        let is_path = name.as_bytes().contains(&b'/');
        let path = if is_path { given.clone() } else { self.netns_names.join(name) };
        match File::open(&path) {
            Ok(file) if is_netns(&file) => {
                let inode = file.metadata().map_err(|source| HostError::Read { path, source })?.ino();
                u32::try_from(inode).map_err(|_| HostError::NotNetns(given))
            }
            Ok(_) => Err(HostError::NotNetns(given)),
            Err(error) if is_absent(&error) => {
                let inode = name.to_str().and_then(|number| number.parse().ok());
                inode.map(NonZeroU32::get).ok_or(HostError::NoNetns(given))
            }
            Err(source) => Err(HostError::Read { path, source }),
        }
    }

    /// Id of a cgroup v2: the inode number of its directory. `path` is absolute, or starts at the cgroup2 mount.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or it is not one of a cgroup2 file system.
    pub fn cgroup_id(&self, path: &Path) -> Result<NonZeroU64, HostError> {
        let mountinfo = self.proc.join("self/mountinfo");
        let table = fs::read(&mountinfo).map_err(|source| HostError::Read { path: mountinfo, source })?;
        let mount = mounts::cgroup2(&table).ok_or(HostError::NoCgroup2)?;
        // `/proc/PID/cgroup` starts its paths with a slash that means the mount.
        let below_mount = mount.join(path.strip_prefix("/").unwrap_or(path));
        let candidates = [path.is_absolute().then(|| path.to_owned()), Some(below_mount)];
        let Some(directory) = candidates.into_iter().flatten().find(|candidate| candidate.is_dir()) else {
            return Err(HostError::NoCgroup { path: path.to_owned(), mount });
        };
        let read = |source: io::Error| HostError::Read { path: directory.clone(), source };
        let file_system = rustix::fs::statfs(&directory).map_err(|error| read(error.into()))?;
        let inode = self.metadata(&directory)?.ino();
        match NonZeroU64::new(inode) {
            Some(id) if file_system.f_type == libc::CGROUP2_SUPER_MAGIC => Ok(id),
            _ => Err(HostError::NotCgroup2 { path: path.to_owned(), mount }),
        }
    }

    fn metadata(&self, path: &Path) -> Result<fs::Metadata, HostError> {
        fs::metadata(path).map_err(|source| HostError::Read { path: path.to_owned(), source })
    }
}

/// No such file; also what `/proc/PID/…` says of a process that is just going away.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// `Tgid:` of `/proc/PID/status`.
fn thread_group(status: &[u8]) -> Option<u32> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

fn is_netns(file: &File) -> bool {
    // SAFETY: `NS_GET_NSTYPE` takes no argument and writes to no memory; on any other file it is ENOTTY.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}
