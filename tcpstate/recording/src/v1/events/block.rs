//! A block of events as it is written.

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::Endpoint;

use crate::v1::{
    many::Many,
    socket::{CommV1, FamilyV1, OwnerSourceV1, ProtocolV1},
};

/// Kinds of rows.
pub(super) mod row {
    pub(in crate::v1::events) const TRANSITION: u8 = 0;
    pub(in crate::v1::events) const ENTERED: u8 = 1;
    pub(in crate::v1::events) const ACCEPTED: u8 = 2;
    pub(in crate::v1::events) const EOF_READ: u8 = 3;
    pub(in crate::v1::events) const LEFT: u8 = 4;
    pub(in crate::v1::events) const DESTROYED: u8 = 5;
}

/// How the time in the old state is written.
pub(super) mod dwell {
    pub(in crate::v1::events) const UNKNOWN: u8 = 0;
    /// Since the last transition of the same socket in this block.
    pub(in crate::v1::events) const SINCE_LAST: u8 = 1;
    /// In the column `dwells`.
    pub(in crate::v1::events) const EXACT: u8 = 2;
    /// In the column `dwells`.
    pub(in crate::v1::events) const AT_LEAST: u8 = 3;
}

/// What many sockets have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Common {
    pub(super) family: FamilyV1,
    pub(super) protocol: ProtocolV1,
    pub(super) netns: u32,
    pub(super) cgroup: u64,
    pub(super) uid: u32,
}

/// Who did something. Owners without [`OwnerSourceV1`] are actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Who {
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Index of the name.
    pub(super) comm: u32,
    pub(super) source: Option<OwnerSourceV1>,
}

/// What transitions say of their socket: its id within the recording and its ends beside what it has in common with others.
pub(super) type Rest = (Option<NonZeroU64>, Common, Endpoint, Endpoint);

/// Sockets by column; rows name them by index. A socket whose ends or id change is several here.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sockets {
    /// Differences between cookies; 0 for no cookie stands as cookie 0.
    pub(super) cookies: Many<i64>,
    /// Indices of addresses of `struct sock`.
    pub(super) skaddrs: Many<u32>,
    /// Indices into `commons`; one more than that, 0 for a socket of which only the identity is known.
    pub(super) commons: Many<u32>,
    /// Differences between ids within the recording, of sockets of which more than the identity is known; 0 for none stands as
    /// id 0.
    pub(super) ids: Many<i64>,
    /// Indices into `addresses`, and ports.
    pub(super) local_addrs: Many<u32>,
    pub(super) local_ports: Many<u16>,
    pub(super) remote_addrs: Many<u32>,
    pub(super) remote_ports: Many<u16>,
}

/// A block of events. Lengths of columns are checked when it is read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) skaddrs: Many<i64>,
    pub(super) addresses: Many<IpAddr>,
    pub(super) comms: Many<CommV1>,
    pub(super) commons: Many<Common>,
    pub(super) whos: Many<Who>,
    pub(super) places: Many<u64>,
    pub(super) sockets: Sockets,
    /// Kind of each row.
    pub(super) kinds: Vec<u8>,
    /// Differences between times, nanoseconds.
    pub(super) times: Many<i64>,
    /// Index of each row's socket, as the difference to one more than the last new one: 0 is a new one.
    pub(super) row_sockets: Many<u32>,
    /// Of rows that are transitions.
    pub(super) olds: Vec<u8>,
    /// Of rows that are transitions, and of `LEFT`.
    pub(super) news: Vec<u8>,
    /// Of rows that are transitions.
    pub(super) dwell_kinds: Vec<u8>,
    /// Where `dwell_kinds` says so, nanoseconds.
    pub(super) dwells: Many<u64>,
    /// Of all rows but `DESTROYED`: one more than the index into `whos`, 0 for nobody.
    pub(super) row_whos: Many<u32>,
    /// Of all rows but `TRANSITION` and `DESTROYED`: one more than the index into `places`, 0 for none.
    pub(super) row_places: Many<u32>,
}
