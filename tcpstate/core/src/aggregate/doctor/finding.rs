//! A finding: what matters, how much, and what to do about it.

use std::fmt;

use crate::aggregate::{
    leaks::Process,
    states::{DestinationRow, GroupKey, ListenerRow, NamespaceRow, ProcessRow, StateRow},
};
use crate::model::{census::Gaps, doctor::Confinement};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something fails now.
    Error,
    /// Something will fail, or is lost.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// Its name in every format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Nothing can be traced, and why.
    CannotTrace(String),
    /// What tracing lacks without a hook.
    Lost {
        /// Name of its role.
        role: &'static str,
        /// What is not to be had.
        lost: &'static str,
    },
    /// Sockets in `CLOSE_WAIT`.
    CloseWait {
        /// Whose they are; a process of the machine, or what is known in its place.
        group: GroupKey,
        /// Name of the process.
        name: Option<Vec<u8>>,
        /// How many, how old.
        row: StateRow,
    },
    /// More than 80 % of a process's descriptors are in use.
    Descriptors(ProcessRow),
    /// More than 80 % of the ports towards a remote end are in use.
    Ports(DestinationRow),
    /// A backlog is full.
    Backlog(ListenerRow),
    /// Listeners have dropped connections.
    Overflows(NamespaceRow),
    /// A value that does harm, or nothing.
    Value {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What that does.
        effect: &'static str,
    },
    /// A file sets what does not exist.
    Configured {
        /// The setting.
        name: &'static str,
        /// The file.
        file: String,
    },
    /// What confines the process that parses what other programs control is not all there; or nothing does, and why.
    Sandbox(Result<Confinement, String>),
    /// Processes or network namespaces that could not be looked into.
    Gaps(Gaps),
    /// More of the same kind that are not listed.
    More {
        /// Their kind.
        kind: &'static str,
        /// How many.
        count: u64,
    },
}

impl FindingKind {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CannotTrace(_) => "cannot_trace",
            Self::Lost { .. } => "hook_missing",
            Self::CloseWait { .. } => "close_wait",
            Self::Descriptors(_) => "descriptors",
            Self::Ports(_) => "ports",
            Self::Backlog(_) => "backlog_full",
            Self::Overflows(_) => "listen_overflows",
            Self::Value { .. } => "setting",
            Self::Configured { .. } => "setting_absent",
            Self::Sandbox(_) => "sandbox",
            Self::Gaps(_) => "gaps",
            Self::More { .. } => "more",
        }
    }

    /// What to do about it. None of it is a setting where `CLOSE_WAIT` is the matter.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::CannotTrace(_) => "`tcpstate states` works without".to_owned(),
            Self::Lost { .. } => "the table of hooks says why it is refused".to_owned(),
            Self::CloseWait { group: GroupKey::Process(pid), .. } => {
                format!("`tcpstate leaks --pid {pid}` names the code that does not close them; no setting does")
            }
            Self::CloseWait { group: GroupKey::NoDescriptor, .. } => {
                "no program has accepted them: see the backlogs in `tcpstate states`; the accept loop is stuck or too slow".to_owned()
            }
            Self::CloseWait { .. } => {
                "no process that could be looked into holds them, and what keeps from others stands below; no setting closes them".to_owned()
            }
            Self::Descriptors(row) => {
                format!("`ls -l /proc/{}/fd` shows them; `tcpstate leaks --pid {}` finds leaked sockets", row.process.pid, row.process.pid)
            }
            Self::Ports(row) if row.time_wait > 0 => {
                "keep connections open and use them again (a pool); else more remote or local addresses, a wider \
                 `net.ipv4.ip_local_port_range`, or `net.ipv4.tcp_tw_reuse`, which concerns outgoing connections only"
                    .to_owned()
            }
            Self::Ports(_) => "open connections keep them: bound the number of connections, or use more addresses".to_owned(),
            Self::Backlog(_) => "the program calls accept() too rarely".to_owned(),
            Self::Overflows(_) => {
                "`tcpstate states --watch 2s` shows whether it still goes on; the counters never go back".to_owned()
            }
            Self::Value { name: "net.ipv4.tcp_abort_on_overflow", .. } => "its default is 0".to_owned(),
            Self::Value { name: "net.core.bpf_jit_enable", .. } => "1 compiles BPF programs and prints nothing".to_owned(),
            Self::Value { name, .. } => format!("see `{name}` below"),
            Self::Configured { .. } => "remove the line: it only makes `sysctl --system` complain".to_owned(),
            Self::Sandbox(Err(_)) => "stacks are neither unwound nor named without it; `trace` and `states` need none".to_owned(),
            Self::Sandbox(Ok(sandbox)) => {
                let missing = sandbox.parts().into_iter().filter(|(there, ..)| !there);
                missing.map(|(_, _, without)| without).collect::<Vec<_>>().join("; ")
            }
            Self::Gaps(Gaps { namespaces, why, hidden, .. }) => {
                let mut causes: Vec<_> = hidden.iter().chain(why).cloned().collect();
                causes.extend(namespaces.iter().map(|(name, reason)| format!("network namespace {name}: {reason}")));
                causes.join("; ")
            }
            Self::More { .. } => "`tcpstate states --by process --top 10000` lists all".to_owned(),
        }
    }

    /// The process that it is about.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::CloseWait { group: GroupKey::Process(pid), .. } => Some(*pid),
            Self::Descriptors(row) => Some(row.process.pid),
            Self::Backlog(ListenerRow { process: Some(Process { pid, .. }), .. }) => Some(*pid),
            _ => None,
        }
    }
}

/// Something that matters, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: FindingKind,
}

impl Finding {
    pub(super) fn error(kind: FindingKind) -> Self {
        Self { severity: Severity::Error, kind }
    }

    pub(super) fn warning(kind: FindingKind) -> Self {
        Self { severity: Severity::Warning, kind }
    }

    pub(super) fn note(kind: FindingKind) -> Self {
        Self { severity: Severity::Note, kind }
    }
}
