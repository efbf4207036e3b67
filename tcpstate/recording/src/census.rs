//! Censuses, as `tcpstate states` makes them: sockets in columns, what belongs to the whole census beside them.

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    Age, Comm, Endpoint, Family, MonotonicNs, State,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
};

use super::{
    dictionary::Dictionary,
    frame::FrameError,
    record::{decode, encode},
};

/// Sockets in one [`CensusPart`] at most, so that no frame is too long however many there are.
const SOCKETS_AT_A_TIME: usize = 50_000;

/// Some sockets of one network namespace; the [`CensusRest`] that follows makes the census whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CensusPart {
    netns: u32,
    sockets: Vec<ListedSocket>,
}

/// The same as it is written, in ascending order of inode numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    /// Inode number of the network namespace.
    netns: u32,
    addresses: Vec<IpAddr>,
    cgroups: Vec<u64>,
    /// Differences between inode numbers; 0 where there is no descriptor.
    inodes: Vec<u32>,
    families: Vec<Family>,
    states: Vec<u8>,
    /// Indices into `addresses`.
    local_addrs: Vec<u32>,
    local_ports: Vec<u16>,
    remote_addrs: Vec<u32>,
    remote_ports: Vec<u16>,
    /// Indices into `cgroups`; one more than that, 0 for none.
    socket_cgroups: Vec<u32>,
    receive_queues: Vec<u32>,
    send_queues: Vec<u32>,
    /// 0 for no age, 1 for one of `ages_at_least` alone, 2 for one of both columns.
    age_kinds: Vec<u8>,
    ages_at_least: Vec<u64>,
    /// How much more than at least.
    ages_more: Vec<u64>,
}

/// The rest of a census.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusRest {
    /// The moment at which it was complete.
    pub now: MonotonicNs,
    namespaces: Vec<Namespace>,
    processes: Vec<Process>,
    /// Inode number of a socket, as the difference to the one before, and index of a process that holds it.
    holders: Vec<(u32, u32)>,
    /// See [`Gaps`].
    unentered: Vec<(String, String)>,
    refused: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Namespace {
    inode: u32,
    names: Vec<Vec<u8>>,
    listening: Vec<u16>,
    listen_overflows: Option<u64>,
    listen_drops: Option<u64>,
    ports: Option<Ports>,
}

/// See [`EphemeralPorts`].
type Ports = (u16, u16, Vec<(u16, u16)>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    comm: Option<Comm>,
    descriptors: u64,
    limit: Option<u64>,
}

/// Payloads of a census: those of its parts, then that of its [`CensusRest`]. Of sockets what is counted is kept, not which they
/// are: neither their cookies nor their order.
///
/// # Errors
///
/// When there is no memory.
pub fn payloads(census: &mut Census, now: MonotonicNs) -> Result<(Vec<Vec<u8>>, Vec<u8>), postcard::Error> {
    let mut parts = Vec::new();
    for namespace in &mut census.namespaces {
        // What stands together then was made at the same time, and is alike.
        namespace.sockets.sort_unstable_by_key(|socket| (socket.inode, socket.state, socket.local.port));
        for sockets in namespace.sockets.chunks(SOCKETS_AT_A_TIME) {
            parts.push(encode(&Columns::new(namespace.inode, sockets))?);
        }
    }
    Ok((parts, encode(&CensusRest::new(census, now))?))
}

impl Columns {
    fn new(netns: u32, sockets: &[ListedSocket]) -> Self {
        let mut part = Self { netns, ..Self::default() };
        let (mut addresses, mut cgroups) = (Dictionary::new(), Dictionary::new());
        let mut inode = 0;
        for socket in sockets {
            part.inodes.push(socket.inode.wrapping_sub(inode));
            inode = socket.inode;
            part.families.push(socket.family);
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
        Self { addresses: addresses.things, cgroups: cgroups.things, ..part }
    }

    /// The sockets. Whatever the columns are: no index is trusted.
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
                family: *self.families.get(at)?,
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

impl CensusRest {
    fn new(census: &Census, now: MonotonicNs) -> Self {
        let namespace = |found: &FoundNamespace| Namespace {
            inode: found.inode,
            names: found.names.clone(),
            listening: found.listening.clone(),
            listen_overflows: found.listen_overflows,
            listen_drops: found.listen_drops,
            ports: found.ports.as_ref().map(|ports| (ports.low, ports.high, ports.reserved.clone())),
        };
        let process =
            |&FoundProcess { pid, comm, descriptors, limit }: &FoundProcess| Process { pid, comm, descriptors, limit };
        let mut before = 0;
        let holders = census.holders.iter().map(|&(inode, index)| {
            let difference = inode.wrapping_sub(before);
            before = inode;
            (difference, index)
        });
        Self {
            now,
            namespaces: census.namespaces.iter().map(namespace).collect(),
            processes: census.processes.iter().map(process).collect(),
            holders: holders.collect(),
            unentered: census.gaps.namespaces.clone(),
            refused: census.gaps.processes,
        }
    }

    /// The census, with the sockets that came before it. None of its network namespaces is that of the program that reads this.
    ///
    /// # Errors
    ///
    /// When the parts do not fit together.
    pub fn census(&self, parts: Vec<CensusPart>) -> Result<Census, FrameError> {
        self.assemble(parts).ok_or_else(malformed)
    }

    fn assemble(&self, parts: Vec<CensusPart>) -> Option<Census> {
        let namespace = |kept: &Namespace| FoundNamespace {
            inode: kept.inode,
            own: false,
            names: kept.names.clone(),
            sockets: Vec::new(),
            listening: kept.listening.clone(),
            listen_overflows: kept.listen_overflows,
            listen_drops: kept.listen_drops,
            ports: kept.ports.as_ref().map(|(low, high, reserved)| EphemeralPorts {
                low: *low,
                high: *high,
                reserved: reserved.clone(),
            }),
        };
        let mut namespaces: Vec<FoundNamespace> = self.namespaces.iter().map(namespace).collect();
        for part in parts {
            let namespace = namespaces.iter_mut().find(|namespace| namespace.inode == part.netns)?;
            namespace.sockets.extend(part.sockets);
        }
        let process =
            |&Process { pid, comm, descriptors, limit }: &Process| FoundProcess { pid, comm, descriptors, limit };
        let mut inode = 0_u32;
        let holders = self.holders.iter().map(|&(difference, index)| {
            inode = inode.checked_add(difference)?;
            ((index as usize) < self.processes.len()).then_some((inode, index))
        });
        let holders = holders.collect::<Option<Vec<_>>>()?;
        Some(Census {
            namespaces,
            processes: self.processes.iter().map(process).collect(),
            holders,
            gaps: Gaps { namespaces: self.unentered.clone(), processes: self.refused },
            ..Census::default()
        })
    }
}

/// A part of bytes.
///
/// # Errors
///
/// When they are none.
pub fn part(bytes: &[u8]) -> Result<CensusPart, FrameError> {
    let columns: Columns = decode(bytes)?;
    Ok(CensusPart { netns: columns.netns, sockets: columns.sockets().ok_or_else(malformed)? })
}

fn malformed() -> FrameError {
    FrameError::Content("its columns do not fit together".to_owned())
}

#[cfg(test)]
mod tests;
