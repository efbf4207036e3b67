//! What the names on the command line mean on this machine: processes, cgroups, network namespaces.

mod cgroups;
pub(crate) mod memory;
mod mounts;
pub mod namespaces;
pub mod preflight;

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
            initial_pids: fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == INITIAL_PID_NAMESPACE),
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
            colors: shows_colors(&io::stdout()),
        }
    }

    /// Makes sure that `pid` is a process that the kernel knows by this number.
    ///
    /// # Errors
    ///
    /// When there is no such process, when it is another process's thread, and when ours are not the kernel's numbers.
    pub fn check_process(&self, pid: u32) -> Result<(), HostError> {
        self.check_pids()?;
        self.find_process(pid)
    }

    /// Makes sure that our process ids are the kernel's. Where they are not, a holder seems to be nobody, or is somebody else.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub fn check_pids(&self) -> Result<(), HostError> {
        if self.initial_pids { Ok(()) } else { Err(HostError::NestedPids) }
    }

    /// Makes sure that `pid` is a process of our `/proc`.
    ///
    /// # Errors
    ///
    /// When there is no such process, and when it is another process's thread.
    pub fn find_process(&self, pid: u32) -> Result<(), HostError> {
        let path = self.proc.join(pid.to_string()).join("status");
        match fs::read(&path) {
            Ok(status) => match thread_group(&status) {
                Some(process) if process != pid => Err(HostError::Thread { thread: pid, process }),
                _ => Ok(()),
            },
            Err(error) if is_absent(&error) => Err(HostError::NoProcess(pid)),
            Err(source) => Err(HostError::Read { path, source }),
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
            Ok(file) => netns_of(&file).ok_or(HostError::NotNetns(given)),
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
        let mount = self.cgroup2_mount()?;
        // `/proc/PID/cgroup` starts its paths with a slash that means the mount.
        let below_mount = mount.join(path.strip_prefix("/").unwrap_or(path));
        let candidates = [path.to_owned(), below_mount];
        let candidates = || candidates.iter().filter(|candidate| candidate.is_absolute());
        if let Some(id) = candidates().find_map(|directory| cgroup2_inode(directory)) {
            Ok(id)
        } else if candidates().any(|candidate| candidate.exists()) {
            Err(HostError::NotCgroup2 { path: path.to_owned(), mount })
        } else {
            Err(HostError::NoCgroup { path: path.to_owned(), mount })
        }
    }
}

/// Whether a stream is a terminal that understands colours and is to have them.
#[must_use]
pub fn shows_colors(stream: &impl IsTerminal) -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
}

/// Inode number of a directory on a cgroup2 file system.
fn cgroup2_inode(directory: &Path) -> Option<NonZeroU64> {
    let metadata = fs::metadata(directory).ok().filter(fs::Metadata::is_dir)?;
    let file_system = rustix::fs::statfs(directory).ok()?;
    (file_system.f_type == libc::CGROUP2_SUPER_MAGIC).then(|| NonZeroU64::new(metadata.ino()))?
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

/// Inode number of an open network namespace; `None` of any other file.
pub(crate) fn netns_of(file: &File) -> Option<u32> {
    // SAFETY: `NS_GET_NSTYPE` takes no argument and writes to no memory; on any other file it is ENOTTY.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    (kind == libc::CLONE_NEWNET).then(|| u32::try_from(file.metadata().ok()?.ino()).ok())?
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process, thread};

    use super::*;

    /// This machine, as one whose process ids are the kernel's.
    fn host() -> Host {
        Host { initial_pids: true, ..Host::detect() }
    }

    #[test]
    fn a_process_has_to_be_there() {
        assert!(host().check_process(process::id()).is_ok());
        // Beyond PID_MAX_LIMIT of include/linux/threads.h.
        let error = host().check_process(4_194_305).expect_err("no such process").to_string();
        assert_eq!(error, "no process `4194305`: `--pid` wants a running process");
    }

    #[test]
    fn a_thread_is_no_process() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let refused = thread::spawn(|| {
            let tid = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            (tid, host().check_process(tid).map_err(|error| error.to_string()))
        });
        let (tid, refused) = refused.join().map_err(|_| "the thread panicked")?;
        let process = process::id();
        let message =
            format!("`{tid}` is a thread of process `{process}`: sockets belong to processes; use `--pid {process}`");
        assert_eq!(refused, Err(message));
        Ok(())
    }

    #[test]
    fn pids_of_a_nested_namespace_are_refused() {
        let nested = Host { initial_pids: false, ..host() };
        assert!(matches!(nested.check_process(process::id()), Err(HostError::NestedPids)));
    }

    #[test]
    fn a_network_namespace_has_a_name_a_path_or_a_number() -> io::Result<()> {
        let names = tempfile::tempdir()?;
        let own = fs::metadata("/proc/self/ns/net")?.ino();
        symlink("/proc/self/ns/net", names.path().join("blue"))?;
        symlink("/proc/self/ns/net", names.path().join("7"))?;
        symlink("/proc/self/ns/mnt", names.path().join("mount"))?;
        fs::write(names.path().join("plain"), "")?;
        let host = Host { netns_names: names.path().to_owned(), ..host() };
        let inode = |name: &str| host.netns_inode(OsStr::new(name)).map(u64::from).map_err(|error| error.to_string());
        assert_eq!(inode("blue"), Ok(own));
        assert_eq!(inode("7"), Ok(own), "a name comes before a number");
        assert_eq!(inode("/proc/self/ns/net"), Ok(own));
        assert_eq!(inode("4026531840"), Ok(4_026_531_840));
        for name in ["green", "0", "4294967296", "", "/proc/self/ns/nothing", "/proc/self/ns/mnt", "mount", "plain"] {
            let error = inode(name).expect_err("no network namespace");
            assert!(
                error.contains(&format!("no network namespace `{name}`")) || error.contains("is no network"),
                "{error}"
            );
            assert!(error.contains("/proc/PID/ns/net"), "{error}");
        }
        Ok(())
    }

    /// Both outcomes are real: a container may have no cgroup2.
    #[test]
    fn a_cgroup_is_the_inode_of_its_directory() -> io::Result<()> {
        let Some(mount) = mounts::cgroup2(&fs::read("/proc/self/mountinfo")?) else {
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
