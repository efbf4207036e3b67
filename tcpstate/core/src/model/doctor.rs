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
}

impl Machine {
    /// Major and minor version of the kernel; `None` when its release does not begin with them.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.kernel.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}
