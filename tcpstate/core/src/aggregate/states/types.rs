//! What counts are made of.

use std::cmp::Ordering;

use crate::{
    aggregate::leaks::{Peer, Process},
    model::{
        Age, Endpoint, MonotonicNs, State,
        census::{FoundNamespace, Gaps},
    },
};

/// Beyond this part of a limit there is little left, per cent.
const NEAR_PERCENT: u64 = 80;

/// Whether `used` is more than 80 % of `limit`.
#[must_use]
pub fn is_near(used: u64, limit: u64) -> bool {
    u128::from(used) * 100 > u128::from(limit) * u128::from(NEAR_PERCENT)
}

/// `used` as a part of `limit`, for sorting; what has no limit is never full.
fn fill(used: u64, limit: Option<u64>) -> f64 {
    match limit {
        Some(0) if used > 0 => f64::INFINITY,
        Some(0) | None => 0.0,
        Some(limit) => used as f64 / limit as f64,
    }
}

/// What sockets are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The processes that hold them.
    Process,
    /// Their network namespace.
    Netns,
    /// Their cgroup v2.
    Cgroup,
    /// Their local port.
    Lport,
    /// Their remote end.
    Remote,
}

/// A group of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// Held by this process.
    Process(u32),
    /// Held by no process: the kernel's own, such as TIME_WAIT, or not accepted yet.
    NoDescriptor,
    /// With a descriptor that was not found.
    HolderUnknown,
    /// In the network namespace of this inode number.
    Netns(u32),
    /// In the cgroup of this id.
    Cgroup(u64),
    /// The kernel does not tell the cgroup, as for TIME_WAIT.
    CgroupUnknown,
    /// At this local port.
    Port(u16),
    /// At a local port that the kernel gave.
    GivenPort,
    /// With this remote end; without a port where it is the client.
    Remote(Peer),
    /// Without a remote end.
    NoRemote,
}

/// Sockets in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// The state.
    pub state: State,
    /// How many.
    pub sockets: u64,
    /// How many more than before.
    pub change: Option<i64>,
    /// For how many of them the kernel tells an age.
    pub aged: u64,
    /// Age of the oldest of these.
    pub oldest: Option<Age>,
    /// Their median age.
    pub median: Option<Age>,
}

/// Sockets that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// What.
    pub key: GroupKey,
    /// Name of the process, network namespace or cgroup.
    pub name: Option<Vec<u8>>,
    /// How many.
    pub sockets: u64,
    /// How many more than before.
    pub change: Option<i64>,
    /// By state.
    pub states: Vec<StateRow>,
}

impl GroupRow {
    pub(super) fn larger_first(&self, other: &Self) -> Ordering {
        other.sockets.cmp(&self.sockets).then(self.key.cmp(&other.key))
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRow {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where it listens.
    pub local: Endpoint,
    /// The process of the lowest id that holds it.
    pub process: Option<Process>,
    /// How many processes hold it.
    pub holders: u64,
    /// Connections that wait to be accepted.
    pub used: u64,
    /// How many may wait: `min(backlog of listen(), net.core.somaxconn)`. One more is let in (`sk_acceptq_is_full()`).
    pub limit: u64,
}

impl ListenerRow {
    /// Used part of the backlog.
    #[must_use]
    pub fn fill(&self) -> f64 {
        fill(self.used, Some(self.limit))
    }

    pub(super) fn at(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.local.port, row.local.addr, row.netns, row.process.map(|process| process.pid));
        key(self).cmp(&key(other))
    }
}

/// A process and its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// The process.
    pub process: Process,
    /// Open descriptors, of any kind.
    pub descriptors: u64,
    /// How many it may have; `None` when that is unlimited or unknown.
    pub limit: Option<u64>,
    /// TCP sockets among them that were counted; one with several descriptors counts once.
    pub sockets: u64,
}

impl ProcessRow {
    /// Used part of the limit.
    #[must_use]
    pub fn fill(&self) -> f64 {
        fill(self.descriptors, self.limit)
    }

    /// Whether more than 80 % of the limit are used.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.limit.is_some_and(|limit| is_near(self.descriptors, limit))
    }
}

/// A remote end, and how many ports are left to reach it from one local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Local address.
    pub local: std::net::IpAddr,
    /// Remote end.
    pub remote: Endpoint,
    /// Ports of the range in use between the two.
    pub used: u64,
    /// Of these, those that only TIME_WAIT keeps.
    pub time_wait: u64,
    /// Ports of the range.
    pub limit: u64,
}

impl DestinationRow {
    pub(super) fn fuller_first(&self, other: &Self) -> Ordering {
        let place = |row: &Self| (row.netns, row.local, row.remote.addr, row.remote.port);
        let fill = |row: &Self| fill(row.used, Some(row.limit));
        fill(other).total_cmp(&fill(self)).then_with(|| place(self).cmp(&place(other)))
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRow {
    /// Inode number.
    pub inode: u32,
    /// Whether it is the program's own.
    pub own: bool,
    /// Its names in `ip netns`.
    pub names: Vec<Vec<u8>>,
    /// Sockets counted in it.
    pub sockets: u64,
    /// `ListenOverflows` since the namespace began.
    pub listen_overflows: Option<u64>,
    /// How many more than before.
    pub overflows_change: Option<i64>,
    /// `ListenDrops` since the namespace began.
    pub listen_drops: Option<u64>,
    /// How many more than before.
    pub drops_change: Option<i64>,
}

impl NamespaceRow {
    pub(super) fn new(found: &FoundNamespace, sockets: u64) -> Self {
        Self {
            inode: found.inode,
            own: found.own,
            names: found.names.clone(),
            sockets,
            listen_overflows: found.listen_overflows,
            overflows_change: None,
            listen_drops: found.listen_drops,
            drops_change: None,
        }
    }
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketCounts {
    /// The moment.
    pub now: MonotonicNs,
    /// All sockets that were counted.
    pub sockets: u64,
    /// How many there were before, when there is a before.
    pub sockets_before: Option<u64>,
    /// Of these, those that several processes hold.
    pub shared: u64,
    /// By state, in the kernel's order.
    pub states: Vec<StateRow>,
    /// What the groups have in common.
    pub by: Option<By>,
    /// The groups, largest first.
    pub groups: Vec<GroupRow>,
    /// Listening sockets, fullest first.
    pub listeners: Vec<ListenerRow>,
    /// Processes with such sockets and those near their limit, fullest first.
    pub processes: Vec<ProcessRow>,
    /// Remote ends of connections from ports that the kernel gave, fullest first.
    pub destinations: Vec<DestinationRow>,
    /// The network namespaces.
    pub namespaces: Vec<NamespaceRow>,
    /// What could not be looked at.
    pub gaps: Gaps,
}

impl SocketCounts {
    /// How many sockets more than before.
    #[must_use]
    pub fn change(&self) -> Option<i64> {
        let change = i128::from(self.sockets) - i128::from(self.sockets_before?);
        i64::try_from(change).ok()
    }
}
