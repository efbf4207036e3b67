//! Censuses, as `tcpstate states` takes them: sockets in columns, what belongs to the whole census beside them.

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    Age, Comm, Endpoint, MonotonicNs, State,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
};

use super::{
    dictionary::Dictionary,
    many::Many,
    socket::{CommV1, FamilyV1},
};
use crate::content::{CensusGaps, CensusPart, CensusRest};

/// Some sockets of one network namespace, in ascending order of inode numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CensusPartV1 {
    /// Inode number of the network namespace.
    netns: u32,
    addresses: Many<IpAddr>,
    cgroups: Many<u64>,
    /// Differences between inode numbers; 0 where there is no descriptor.
    inodes: Many<u32>,
    families: Many<FamilyV1>,
    states: Vec<u8>,
    /// Indices into `addresses`.
    local_addrs: Many<u32>,
    local_ports: Many<u16>,
    remote_addrs: Many<u32>,
    remote_ports: Many<u16>,
    /// Indices into `cgroups`; one more than that, 0 for none.
    socket_cgroups: Many<u32>,
    receive_queues: Many<u32>,
    send_queues: Many<u32>,
    /// 0 for no age, 1 for one of `ages_at_least` alone, 2 for one of both columns.
    age_kinds: Vec<u8>,
    ages_at_least: Many<u64>,
    /// How much more than at least.
    ages_more: Many<u64>,
}

/// See [`CensusGaps`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CensusGapsV1 {
    refused: Many<u32>,
    why: Option<String>,
    hidden: Option<String>,
}

/// The rest of a census.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CensusV1 {
    now: u64,
    namespaces: Many<NamespaceV1>,
    processes: Many<ProcessV1>,
    /// Inode number of a socket, as the difference to the one before, and index of a process that holds it.
    holders: Many<(u32, u32)>,
    /// See [`Gaps`].
    unentered: Many<(String, String)>,
    refused: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct NamespaceV1 {
    inode: u32,
    names: Many<Vec<u8>>,
    listening: Many<u16>,
    listen_overflows: Option<u64>,
    listen_drops: Option<u64>,
    ports: Option<PortsV1>,
}

/// See [`EphemeralPorts`].
type PortsV1 = (u16, u16, Many<(u16, u16)>);

#[derive(Debug, Serialize, Deserialize)]
struct ProcessV1 {
    pid: u32,
    comm: Option<CommV1>,
    descriptors: u64,
    limit: Option<u64>,
}

impl From<&CensusPart> for CensusPartV1 {
    fn from(CensusPart { netns, sockets }: &CensusPart) -> Self {
        let mut part = Self { netns: *netns, ..Self::default() };
        let (mut addresses, mut cgroups) = (Dictionary::new(), Dictionary::new());
        let mut inode = 0;
        for socket in sockets {
            part.inodes.push(socket.inode.wrapping_sub(inode));
            inode = socket.inode;
            part.families.push(socket.family.into());
            part.states.push(socket.state.into());
            part.local_addrs.push(addresses.index(socket.local.addr));
            part.local_ports.push(socket.local.port);
            part.remote_addrs.push(addresses.index(socket.remote.addr));
            part.remote_ports.push(socket.remote.port);
            part.socket_cgroups.push(cgroups.optional(socket.cgroup.map(NonZeroU64::get)));
            part.receive_queues.push(socket.receive_queue);
            part.send_queues.push(socket.send_queue);
            let more = socket.age.and_then(|age| Some(age.at_most_ns?.saturating_sub(age.at_least_ns)));
            part.age_kinds.push(u8::from(socket.age.is_some()) + u8::from(more.is_some()));
            part.ages_at_least.extend(socket.age.map(|age| age.at_least_ns));
            part.ages_more.extend(more);
        }
        Self { addresses: addresses.things.into(), cgroups: cgroups.things.into(), ..part }
    }
}

impl CensusPartV1 {
    /// How many sockets it says it has.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// The part, if its columns fit together.
    pub(super) fn part(&self) -> Option<CensusPart> {
        Some(CensusPart { netns: self.netns, sockets: self.sockets()? })
    }

    fn sockets(&self) -> Option<Vec<ListedSocket>> {
        let mut inode = 0_u32;
        let (mut at_least, mut more) = (self.ages_at_least.iter(), self.ages_more.iter());
        let end = |addrs: &[u32], ports: &[u16], at: usize| -> Option<Endpoint> {
            Some(Endpoint { addr: *self.addresses.get(*addrs.get(at)? as usize)?, port: *ports.get(at)? })
        };
        let mut socket = |at: usize| {
            inode = inode.wrapping_add(*self.inodes.get(at)?);
            let cgroup = match self.socket_cgroups.get(at)?.checked_sub(1) {
                None => None,
                Some(index) => Some(NonZeroU64::new(*self.cgroups.get(index as usize)?)?),
            };
            let age = match *self.age_kinds.get(at)? {
                0 => None,
                kind @ (1 | 2) => {
                    let at_least_ns = *at_least.next()?;
                    let at_most_ns = if kind == 2 { Some(at_least_ns.checked_add(*more.next()?)?) } else { None };
                    Some(Age { at_least_ns, at_most_ns })
                }
                _ => return None,
            };
            Some(ListedSocket {
                cookie: 0,
                family: (*self.families.get(at)?).into(),
                state: State::from(*self.states.get(at)?),
                local: end(&self.local_addrs, &self.local_ports, at)?,
                remote: end(&self.remote_addrs, &self.remote_ports, at)?,
                inode,
                cgroup,
                receive_queue: *self.receive_queues.get(at)?,
                send_queue: *self.send_queues.get(at)?,
                age,
            })
        };
        (0..self.states.len()).map(&mut socket).collect()
    }
}

impl From<CensusGaps> for CensusGapsV1 {
    fn from(CensusGaps { refused, why, hidden }: CensusGaps) -> Self {
        Self { refused: refused.into(), why, hidden }
    }
}

impl From<CensusGapsV1> for CensusGaps {
    fn from(CensusGapsV1 { refused, why, hidden }: CensusGapsV1) -> Self {
        Self { refused: refused.into(), why, hidden }
    }
}

impl From<CensusRest> for CensusV1 {
    fn from(CensusRest { now, census }: CensusRest) -> Self {
        let Census { namespaces, processes, holders, gaps, cgroups: _ } = census;
        let mut before = 0;
        let holders = holders.into_iter().map(|(inode, index)| {
            let difference = inode.wrapping_sub(before);
            before = inode;
            (difference, index)
        });
        Self {
            now: now.0,
            namespaces: namespaces.into_iter().map(Into::into).collect(),
            processes: processes.into_iter().map(Into::into).collect(),
            holders: holders.collect(),
            unentered: gaps.namespaces.into(),
            refused: gaps.processes,
        }
    }
}

impl CensusV1 {
    /// The rest, if every holder is one of its processes.
    pub(super) fn rest(self) -> Option<CensusRest> {
        let Self { now, namespaces, processes, holders, unentered, refused } = self;
        let mut inode = 0_u32;
        let holders = holders.into_iter().map(|(difference, index)| {
            inode = inode.checked_add(difference)?;
            ((index as usize) < processes.len()).then_some((inode, index))
        });
        let census = Census {
            namespaces: namespaces.into_iter().map(Into::into).collect(),
            holders: holders.collect::<Option<_>>()?,
            processes: processes.into_iter().map(Into::into).collect(),
            gaps: Gaps { namespaces: unentered.into(), processes: refused, ..Gaps::default() },
            ..Census::default()
        };
        Some(CensusRest { now: MonotonicNs(now), census })
    }
}

impl From<FoundNamespace> for NamespaceV1 {
    fn from(found: FoundNamespace) -> Self {
        Self {
            inode: found.inode,
            names: found.names.into(),
            listening: found.listening.into(),
            listen_overflows: found.listen_overflows,
            listen_drops: found.listen_drops,
            ports: found.ports.map(|EphemeralPorts { low, high, reserved }| (low, high, reserved.into())),
        }
    }
}

impl From<NamespaceV1> for FoundNamespace {
    fn from(namespace: NamespaceV1) -> Self {
        Self {
            inode: namespace.inode,
            own: false,
            names: namespace.names.into(),
            sockets: Vec::new(),
            listening: namespace.listening.into(),
            listen_overflows: namespace.listen_overflows,
            listen_drops: namespace.listen_drops,
            ports: namespace.ports.map(|(low, high, reserved)| EphemeralPorts { low, high, reserved: reserved.into() }),
        }
    }
}

impl From<FoundProcess> for ProcessV1 {
    fn from(FoundProcess { pid, comm, descriptors, limit }: FoundProcess) -> Self {
        Self { pid, comm: comm.map(|comm| comm.0), descriptors, limit }
    }
}

impl From<ProcessV1> for FoundProcess {
    fn from(ProcessV1 { pid, comm, descriptors, limit }: ProcessV1) -> Self {
        Self { pid, comm: comm.map(Comm), descriptors, limit }
    }
}

#[cfg(test)]
mod tests;
