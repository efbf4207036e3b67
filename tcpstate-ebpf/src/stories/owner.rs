//! Whose a socket is, as its story knows it.

use tcpstate_common::event::{TaskRecord, owner_source};

/// An owner, how it is known, and where in its code it opened the socket.
#[derive(Clone, Copy)]
pub(crate) struct KnownOwner {
    pub(crate) owner: TaskRecord,
    /// One of [`owner_source`].
    pub(crate) source: u8,
    /// 0 when not known.
    pub(crate) place: u64,
}

impl KnownOwner {
    pub(crate) const UNKNOWN: Self = Self { owner: TaskRecord::UNKNOWN, source: owner_source::UNKNOWN, place: 0 };
}
