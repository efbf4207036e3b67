//! Snapshots: the sockets in frames of their own, the rest in that of the checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    Comm, MonotonicNs, State,
    leak::{FoundHolder, FoundListener, FoundSocket, Holder, PlaceId, Snapshot, SocketLoad, Traffic},
};

use super::{
    many::Many,
    socket::{CommV1, OwnerV1, SocketFactsV1},
};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FoundSocketV1 {
    facts: SocketFactsV1,
    state: u8,
    owner: Option<OwnerV1>,
    opened: Option<u64>,
    since: Option<u64>,
    eof_read: bool,
    unaccepted: bool,
    load: Option<SocketLoadV1>,
    holders: Many<HolderV1>,
    awaited_by: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SocketLoadV1 {
    recv_q: u32,
    send_q: u32,
    last_data_recv_ms: u32,
    last_ack_recv_ms: u32,
    last_data_sent_ms: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrafficV1 {
    received: u64,
    sent: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct HolderV1 {
    pid: u32,
    fd: u32,
}

/// All but the sockets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotV1 {
    taken: u64,
    complete: u64,
    listeners: Many<FoundListenerV1>,
    processes: Many<FoundHolderV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundListenerV1 {
    facts: SocketFactsV1,
    owner: Option<OwnerV1>,
    backlog: u32,
    backlog_limit: u32,
    dropped: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundHolderV1 {
    pid: u32,
    comm: CommV1,
    descriptors: u64,
    descriptor_limit: Option<u64>,
}

impl From<FoundSocket> for FoundSocketV1 {
    fn from(found: FoundSocket) -> Self {
        Self {
            facts: found.facts.into(),
            state: found.state.into(),
            owner: found.owner.map(Into::into),
            opened: found.opened.map(|place| place.0),
            since: found.since.map(|since| since.0),
            eof_read: found.eof_read,
            unaccepted: found.unaccepted,
            load: found.load.map(Into::into),
            holders: found.holders.into_iter().map(|Holder { pid, fd }| HolderV1 { pid, fd }).collect(),
            awaited_by: found.awaited_by,
        }
    }
}

impl From<FoundSocketV1> for FoundSocket {
    fn from(found: FoundSocketV1) -> Self {
        Self {
            facts: found.facts.into(),
            state: State::from(found.state),
            owner: found.owner.map(Into::into),
            opened: found.opened.map(PlaceId),
            since: found.since.map(MonotonicNs),
            eof_read: found.eof_read,
            unaccepted: found.unaccepted,
            load: found.load.map(Into::into),
            holders: found.holders.into_iter().map(|HolderV1 { pid, fd }| Holder { pid, fd }).collect(),
            awaited_by: found.awaited_by,
        }
    }
}

impl From<SocketLoad> for SocketLoadV1 {
    fn from(load: SocketLoad) -> Self {
        // The traffic follows in a frame of its own.
        let SocketLoad { recv_q, send_q, last_data_recv_ms, last_ack_recv_ms, last_data_sent_ms, traffic: _ } = load;
        Self { recv_q, send_q, last_data_recv_ms, last_ack_recv_ms, last_data_sent_ms }
    }
}

impl From<SocketLoadV1> for SocketLoad {
    fn from(load: SocketLoadV1) -> Self {
        let SocketLoadV1 { recv_q, send_q, last_data_recv_ms, last_ack_recv_ms, last_data_sent_ms } = load;
        Self { recv_q, send_q, last_data_recv_ms, last_ack_recv_ms, last_data_sent_ms, traffic: None }
    }
}

impl From<Traffic> for TrafficV1 {
    fn from(Traffic { received, sent }: Traffic) -> Self {
        Self { received, sent }
    }
}

impl From<TrafficV1> for Traffic {
    fn from(TrafficV1 { received, sent }: TrafficV1) -> Self {
        Self { received, sent }
    }
}

impl From<Snapshot> for SnapshotV1 {
    fn from(Snapshot { taken, complete, listeners, processes, sockets: _, starts: _ }: Snapshot) -> Self {
        Self {
            taken: taken.0,
            complete: complete.0,
            listeners: listeners.into_iter().map(Into::into).collect(),
            processes: processes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<SnapshotV1> for Snapshot {
    fn from(SnapshotV1 { taken, complete, listeners, processes }: SnapshotV1) -> Self {
        Self {
            taken: MonotonicNs(taken),
            complete: MonotonicNs(complete),
            sockets: Vec::new(),
            listeners: listeners.into_iter().map(Into::into).collect(),
            processes: processes.into_iter().map(Into::into).collect(),
            starts: BTreeMap::new(),
        }
    }
}

impl From<FoundListener> for FoundListenerV1 {
    fn from(found: FoundListener) -> Self {
        let FoundListener { facts, owner, holders: _, backlog, backlog_limit, dropped } = found;
        Self { facts: facts.into(), owner: owner.map(Into::into), backlog, backlog_limit, dropped }
    }
}

impl From<FoundListenerV1> for FoundListener {
    fn from(found: FoundListenerV1) -> Self {
        let FoundListenerV1 { facts, owner, backlog, backlog_limit, dropped } = found;
        Self { facts: facts.into(), owner: owner.map(Into::into), holders: Vec::new(), backlog, backlog_limit, dropped }
    }
}

impl From<FoundHolder> for FoundHolderV1 {
    fn from(FoundHolder { pid, comm, descriptors, descriptor_limit }: FoundHolder) -> Self {
        Self { pid, comm: comm.0, descriptors, descriptor_limit }
    }
}

impl From<FoundHolderV1> for FoundHolder {
    fn from(FoundHolderV1 { pid, comm, descriptors, descriptor_limit }: FoundHolderV1) -> Self {
        Self { pid, comm: Comm(comm), descriptors, descriptor_limit }
    }
}
