//! Events in columns: what is alike stands together, and what is known already is not written again.
//!
//! A block stands for itself: its dictionaries are its own, so that nothing before it is needed to read it.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::Endpoint;

pub(super) use self::{decode::decode, encode::encode};
use super::socket::{CommV1, FamilyV1, OwnerSourceV1, ProtocolV1};

/// Kinds of rows.
mod row {
    pub(super) const TRANSITION: u8 = 0;
    pub(super) const ENTERED: u8 = 1;
    pub(super) const ACCEPTED: u8 = 2;
    pub(super) const EOF_READ: u8 = 3;
    pub(super) const LEFT: u8 = 4;
    pub(super) const DESTROYED: u8 = 5;
}

/// How the time in the old state is written.
mod dwell {
    pub(super) const UNKNOWN: u8 = 0;
    /// Since the last transition of the same socket in this block.
    pub(super) const SINCE_LAST: u8 = 1;
    /// In the column `dwells`.
    pub(super) const EXACT: u8 = 2;
    /// In the column `dwells`.
    pub(super) const AT_LEAST: u8 = 3;
}

/// What many sockets have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Common {
    family: FamilyV1,
    protocol: ProtocolV1,
    netns: u32,
    cgroup: u64,
    uid: u32,
}

/// Who did something. Owners without [`OwnerSourceV1`] are actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Who {
    pid: u32,
    tid: u32,
    /// Index of the name.
    comm: u32,
    source: Option<OwnerSourceV1>,
}

/// What transitions say of their socket: its id within the recording and its ends beside what it has in common with others.
type Rest = (Option<NonZeroU64>, Common, Endpoint, Endpoint);

/// Sockets by column; rows name them by index. A socket whose ends or id change is several here.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sockets {
    /// Differences between cookies; 0 for no cookie stands as cookie 0.
    cookies: Vec<i64>,
    /// Indices of addresses of `struct sock`.
    skaddrs: Vec<u32>,
    /// Indices into `commons`; one more than that, 0 for a socket of which only the identity is known.
    commons: Vec<u32>,
    /// Differences between ids within the recording, of sockets of which more than the identity is known; 0 for none stands as
    /// id 0.
    ids: Vec<i64>,
    /// Indices into `addresses`, and ports.
    local_addrs: Vec<u32>,
    local_ports: Vec<u16>,
    remote_addrs: Vec<u32>,
    remote_ports: Vec<u16>,
}

/// A block of events. Lengths of columns are checked when it is read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Block {
    skaddrs: Vec<i64>,
    addresses: Vec<IpAddr>,
    comms: Vec<CommV1>,
    commons: Vec<Common>,
    whos: Vec<Who>,
    places: Vec<u64>,
    sockets: Sockets,
    /// Kind of each row.
    kinds: Vec<u8>,
    /// Differences between times, nanoseconds.
    times: Vec<i64>,
    /// Index of each row's socket, as the difference to one more than the last new one: 0 is a new one.
    row_sockets: Vec<u32>,
    /// Of rows that are transitions.
    olds: Vec<u8>,
    /// Of rows that are transitions, and of `LEFT`.
    news: Vec<u8>,
    /// Of rows that are transitions.
    dwell_kinds: Vec<u8>,
    /// Where `dwell_kinds` says so, nanoseconds.
    dwells: Vec<u64>,
    /// Of all rows but `DESTROYED`: one more than the index into `whos`, 0 for nobody.
    row_whos: Vec<u32>,
    /// Of all rows but `TRANSITION` and `DESTROYED`: one more than the index into `places`, 0 for none.
    row_places: Vec<u32>,
}
