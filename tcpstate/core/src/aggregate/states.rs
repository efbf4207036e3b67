//! How many TCP sockets are in each state, whose they are, how old, and what they use up.
//!
//! [`count`] makes a [`SocketCounts`] of one [`Census`]; [`SocketCounts::compare`] says what changed since another, and [`Census::kept`] leaves out
//! what will not be asked for.

mod change;
mod filter;
mod keep;
mod ports;
mod tally;
mod types;

use std::collections::{BTreeMap, HashSet};

use tcpstate_common::state::TcpState;

pub use self::{
    filter::SocketFilter,
    types::{
        By, DestinationRow, GroupKey, GroupRow, ListenerRow, NamespaceRow, ProcessRow, SocketCounts, StateRow, is_near,
    },
};
use self::{ports::Destinations, tally::StateTally};
use super::leaks::{Peer, Process};
use crate::model::{
    MonotonicNs, State,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, ListedSocket},
};

const LISTEN: State = State::Known(TcpState::Listen);

/// Counts what a census found.
#[must_use]
pub fn count(census: &Census, filter: &SocketFilter, by: Option<By>, now: MonotonicNs) -> SocketCounts {
    let mut total = StateTally::default();
    let mut groups: BTreeMap<GroupKey, StateTally> = BTreeMap::new();
    let mut held = vec![0_u64; census.processes.len()];
    let mut shared = 0;
    let mut listeners = Vec::new();
    let mut destinations = Vec::new();
    let mut namespaces = Vec::new();
    for namespace in &census.namespaces {
        let ports = NamespacePorts::new(namespace);
        let mut used = Destinations::default();
        let mut sockets = 0;
        for socket in &namespace.sockets {
            let holders = holders(census, socket);
            if !filter.matches(census, socket, holders) {
                continue;
            }
            sockets += 1;
            shared += u64::from(holders.len() > 1);
            total.add(socket);
            for &(_, process) in holders {
                held[process as usize] += 1;
            }
            if socket.state == LISTEN {
                listeners.push(listener(census, namespace, socket, holders));
            } else if let Some(destination) = ports.destination(socket) {
                used.add(destination, socket);
            }
            match by {
                None => {}
                // A socket that several processes hold counts for each of them.
                Some(By::Process) if !holders.is_empty() => {
                    for &(_, process) in holders {
                        let pid = census.processes[process as usize].pid;
                        groups.entry(GroupKey::Process(pid)).or_default().add(socket);
                    }
                }
                Some(by) => groups.entry(ports.key(by, socket)).or_default().add(socket),
            }
        }
        namespaces.push(NamespaceRow::new(namespace, sockets));
        let given = namespace.ports.as_ref();
        destinations.extend(used.rows(namespace.inode, given.map_or(0, EphemeralPorts::count)));
    }
    listeners.sort_by(|one: &ListenerRow, other| other.fill().total_cmp(&one.fill()).then_with(|| one.at(other)));
    destinations.sort_by(DestinationRow::fuller_first);
    SocketCounts {
        now,
        sockets: total.sockets(),
        sockets_before: None,
        shared,
        states: total.rows(),
        by,
        groups: group_rows(census, groups),
        listeners,
        processes: process_rows(census, filter, &held),
        destinations,
        namespaces,
        gaps: census.gaps.clone(),
    }
}

/// The entries of a socket's holders; empty when it has none, or none that is known.
fn holders<'a>(census: &'a Census, socket: &ListedSocket) -> &'a [(u32, u32)] {
    if socket.inode == 0 {
        return &[];
    }
    let start = census.holders.partition_point(|&(inode, _)| inode < socket.inode);
    let count = census.holders[start..].iter().take_while(|&&(inode, _)| inode == socket.inode).count();
    &census.holders[start..start + count]
}

fn process(found: &FoundProcess) -> Process {
    Process { pid: found.pid, comm: found.comm, start: None }
}

fn listener(census: &Census, namespace: &FoundNamespace, socket: &ListedSocket, holders: &[(u32, u32)]) -> ListenerRow {
    ListenerRow {
        netns: namespace.inode,
        local: socket.local,
        process: holders.first().map(|&(_, index)| process(&census.processes[index as usize])),
        holders: holders.len() as u64,
        used: socket.receive_queue.into(),
        limit: socket.send_queue.into(),
    }
}

/// Those that hold sockets of interest, and those that are near their limit whatever they hold.
fn process_rows(census: &Census, filter: &SocketFilter, held: &[u64]) -> Vec<ProcessRow> {
    let rows = census.processes.iter().zip(held).map(|(found, &sockets)| ProcessRow {
        process: process(found),
        descriptors: found.descriptors,
        limit: found.limit,
        sockets,
    });
    let mut rows: Vec<_> =
        rows.filter(|row| row.sockets > 0 || (row.is_near() && filter.wants_process(row.process))).collect();
    rows.sort_by(|one, other| {
        other
            .fill()
            .total_cmp(&one.fill())
            .then(other.sockets.cmp(&one.sockets))
            .then(one.process.pid.cmp(&other.process.pid))
    });
    rows
}

fn group_rows(census: &Census, groups: BTreeMap<GroupKey, StateTally>) -> Vec<GroupRow> {
    let comms: BTreeMap<u32, &FoundProcess> = census.processes.iter().map(|found| (found.pid, found)).collect();
    let name = |key| match key {
        GroupKey::Process(pid) => comms.get(&pid).and_then(|found| found.comm).map(|comm| comm.bytes().to_vec()),
        GroupKey::Netns(inode) => {
            let namespace = census.namespaces.iter().find(|namespace| namespace.inode == inode)?;
            namespace.names.first().cloned()
        }
        GroupKey::Cgroup(id) => census.cgroups.get(&id).cloned(),
        _ => None,
    };
    let rows = groups.into_iter().map(|(key, tally)| GroupRow {
        key,
        name: name(key),
        sockets: tally.sockets(),
        change: None,
        states: tally.rows(),
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(GroupRow::larger_first);
    rows
}

/// What a socket is judged by within its namespace.
struct NamespacePorts<'a> {
    namespace: &'a FoundNamespace,
    listening: HashSet<u16>,
}

impl<'a> NamespacePorts<'a> {
    fn new(namespace: &'a FoundNamespace) -> Self {
        let listening = namespace.sockets.iter().filter(|socket| socket.state == LISTEN);
        let listening = listening.map(|socket| socket.local.port).chain(namespace.listening.iter().copied());
        Self { namespace, listening: listening.collect() }
    }

    /// Whether its local port was given by the kernel: in the range, and nobody listens there.
    fn has_given_port(&self, socket: &ListedSocket) -> bool {
        let port = socket.local.port;
        let in_range = self.namespace.ports.as_ref().is_some_and(|ports| ports.contains(port));
        in_range && !self.listening.contains(&port)
    }

    fn destination(&self, socket: &ListedSocket) -> Option<ports::Destination> {
        (socket.remote.port != 0 && self.has_given_port(socket)).then(|| ports::Destination::of(socket))
    }

    fn key(&self, by: By, socket: &ListedSocket) -> GroupKey {
        match by {
            By::Process if socket.inode == 0 => GroupKey::NoDescriptor,
            By::Process => GroupKey::HolderUnknown,
            By::Netns => GroupKey::Netns(self.namespace.inode),
            By::Cgroup => socket.cgroup.map_or(GroupKey::CgroupUnknown, |id| GroupKey::Cgroup(id.get())),
            By::Lport if self.has_given_port(socket) => GroupKey::GivenPort,
            By::Lport => GroupKey::Port(socket.local.port),
            By::Remote if socket.remote.port == 0 => GroupKey::NoRemote,
            By::Remote => {
                let is_client = self.listening.contains(&socket.local.port);
                let port = (!is_client).then_some(socket.remote.port);
                GroupKey::Remote(Peer { addr: socket.remote.addr.to_canonical(), port })
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
