//! What the kernel lists of a socket when it is asked (`sock_diag(7)`), without any program of ours in it.

use std::{collections::BTreeMap, num::NonZeroU64};

use super::{Age, Comm, Endpoint, Family, State};

/// A TCP socket, minisock or connection request as `sock_diag` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSocket {
    /// `SO_COOKIE`; 0 where it was not kept.
    pub cookie: u64,
    /// Address family.
    pub family: Family,
    /// State; that of a connection request is `SYN_RECV`, that of a minisock the one it stands for.
    pub state: State,
    /// Local end.
    pub local: Endpoint,
    /// Remote end.
    pub remote: Endpoint,
    /// Inode number, as in `/proc/PID/fd`; 0 for what no descriptor refers to.
    pub inode: u32,
    /// Id of its cgroup v2; `None` where the kernel does not keep it.
    pub cgroup: Option<NonZeroU64>,
    /// Bytes not read; of a listener: connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes not acknowledged; of a listener: how many connections may wait.
    pub send_queue: u32,
    /// Time in the state, as far as the kernel tells.
    pub age: Option<Age>,
}

/// Everything that one census of a host found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The network namespaces that were looked into, one's own first.
    pub namespaces: Vec<FoundNamespace>,
    /// The processes whose descriptors were read.
    pub processes: Vec<FoundProcess>,
    /// Which of `processes`, by position, hold a socket, by its inode number: ascending and without repetitions.
    pub holders: Vec<(u32, u32)>,
    /// Paths of cgroups below the cgroup2 mount, by id; empty unless they were asked for.
    pub cgroups: BTreeMap<u64, Vec<u8>>,
    /// What could not be looked at.
    pub gaps: Gaps,
}

/// A network namespace and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNamespace {
    /// Inode number.
    pub inode: u32,
    /// Whether it is the one that the program runs in.
    pub own: bool,
    /// Names that `ip netns` gave it.
    pub names: Vec<Vec<u8>>,
    /// Its TCP sockets.
    pub sockets: Vec<ListedSocket>,
    /// Ports at which others listen than those among `sockets`, where these are only some.
    pub listening: Vec<u16>,
    /// Connections that found the backlog of their listener full, since the namespace began (`ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Connections that listeners dropped for any reason, those included (`ListenDrops`).
    pub listen_drops: Option<u64>,
    /// Ports that the kernel gives to connections.
    pub ports: Option<EphemeralPorts>,
}

/// `net.ipv4.ip_local_port_range` without `ip_local_reserved_ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralPorts {
    /// First port of the range.
    pub low: u16,
    /// Last port of the range.
    pub high: u16,
    /// Ports that are left out: ascending first and last ports.
    pub reserved: Vec<(u16, u16)>,
}

impl EphemeralPorts {
    /// Whether the kernel gives this port to connections.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
            && !self.reserved.iter().any(|&(first, last)| (first..=last).contains(&port))
    }

    /// How many ports there are to give.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.low..=self.high).filter(|&port| self.contains(port)).count() as u64
    }
}

/// A process whose descriptors were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundProcess {
    /// Id in the pid namespace of `/proc`.
    pub pid: u32,
    /// Name of its first thread; `None` when it has gone.
    pub comm: Option<Comm>,
    /// Open descriptors.
    pub descriptors: u64,
    /// `RLIMIT_NOFILE`, soft; `None` when it is unlimited or unknown.
    pub limit: Option<u64>,
}

/// What could not be looked at, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Network namespaces that could not be entered: name or number, and the reason.
    pub namespaces: Vec<(String, String)>,
    /// Processes whose network namespace and descriptors were not ours to read.
    pub processes: u64,
    /// Ids of some of these, ascending.
    pub refused: Vec<u32>,
    /// Why they were refused, and what it takes; `None` where there are none, or it is not known.
    pub why: Option<String>,
    /// Why there may be processes that were not even listed.
    pub hidden: Option<String>,
}

impl Gaps {
    /// Whether everything was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.processes == 0 && self.hidden.is_none()
    }
}
