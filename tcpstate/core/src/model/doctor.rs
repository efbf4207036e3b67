//! What `tcpstate doctor` judges a machine by.

use super::probes::Hooks;

/// What a file below `/proc/sys` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Its words, one blank between them.
    Value(String),
    /// There is no such file.
    Absent,
    /// It cannot be read, and why.
    Unreadable(String),
}

impl Reading {
    /// The value, where there is one.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// The value as a number, where it is one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.value()?.parse().ok()
    }
}

/// A capability that matters here (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Such as `CAP_BPF`.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it is effective, or another that stands for it.
    pub effective: bool,
}

/// A limit; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What applies now.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

/// What confines a process that parses what other programs control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The kernel ends it for every system call that it does not need.
    pub seccomp: bool,
    /// The kernel refuses it every file that it was not handed.
    pub landlock: bool,
    /// It runs as a user whom nobody else is.
    pub stranger: bool,
    /// Its root directory is empty.
    pub rootless: bool,
}

impl Confinement {
    /// With all that there is.
    pub const COMPLETE: Self = Self { seccomp: true, landlock: true, stranger: true, rootless: true };

    /// Each part: whether it is there, its name, and what follows without it.
    #[must_use]
    pub fn parts(&self) -> [(bool, &'static str, &'static str); 4] {
        [
            (
                self.seccomp,
                "seccomp",
                "without CONFIG_SECCOMP_FILTER only its user and its limits hold it, if it is taken over",
            ),
            (
                self.landlock,
                "Landlock",
                "without it, as before Linux 5.13, its filter of system calls and its empty root directory keep it from files",
            ),
            (
                self.stranger,
                "a user of its own",
                "without CAP_SETUID and CAP_SETGID it is this user, whose other processes may send it signals",
            ),
            (
                self.rootless,
                "an empty root directory",
                "without CAP_SYS_CHROOT its calls that ask about files could be asked about paths",
            ),
        ]
    }
}

/// A line of `sysctl.conf(5)` or `sysctl.d(5)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The file.
    pub file: String,
    /// The setting, with dots.
    pub name: String,
}

/// The process and the kernel, apart from sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Lockdown mode; `None` where the kernel does not tell.
    pub lockdown: Option<String>,
    /// Effective user id.
    pub uid: u32,
    /// Capabilities that matter.
    pub capabilities: Vec<Capability>,
    /// Whether the kernel shows its types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// Whether tracefs is mounted.
    pub tracefs: bool,
    /// Whether process ids are those of the initial pid namespace.
    pub initial_pids: bool,
    /// `RLIMIT_MEMLOCK`, bytes.
    pub memlock: Limit,
    /// `RLIMIT_NOFILE`.
    pub nofile: Limit,
    /// The hooks, or why they were not tried.
    pub hooks: Result<Hooks, String>,
    /// What confines a worker, or why none can be confined.
    pub sandbox: Result<Confinement, String>,
}

impl Machine {
    /// Major and minor version of the kernel; `None` when its release does not begin with them.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.kernel.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}
