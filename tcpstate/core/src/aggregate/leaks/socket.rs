//! What is kept of one socket. A million of them are kept at a time, so every byte counts.

use std::num::{NonZeroU32, NonZeroU64};

use tcpstate_common::state::TcpState;

use super::entry_time::EntryTime;
use crate::{
    aggregate::verdict::{Remainder, is_last_words},
    model::{
        Endpoint, Family, MonotonicNs, Owner, OwnerSource, ProcessId, Protocol, SocketId, State,
        leak::{Actor, FoundSocket, PlaceId, SocketFacts, SocketLoad},
    },
};

const NS_PER_MS: u64 = 1_000_000;

/// A socket in CLOSE_WAIT, or one that has left it and is not known to be gone.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    pub(super) entered: EntryTime,
    pub(super) opened: PlaceSlot,
    pub(super) phase: Phase,
    pub(super) told: Option<Told>,
    pub(super) load: Option<Load>,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) netns: u32,
    pub(super) owner: Option<Owner>,
    /// Where its holders are in the common list: start and length.
    pub(super) holders: (u32, u32),
    /// Number of the last snapshot that listed it; 0 before the first.
    pub(super) listed: u32,
    pub(super) protocol: Protocol,
    pub(super) family: Family,
    /// A receive returned 0, seen or told by a snapshot.
    pub(super) eof_read: bool,
    /// What the last snapshot said of it.
    pub(super) unaccepted: bool,
    /// It was found with a descriptor, or closed by one.
    pub(super) had_descriptor: bool,
    /// What the last snapshot said of its peer: the process that waits to receive.
    pub(super) awaited_by: Option<NonZeroU32>,
    /// The last snapshot did not list it although it should have: it has left, its events may still come.
    pub(super) missing: bool,
}

impl Socket {
    pub(super) fn new(facts: &SocketFacts, entered: EntryTime) -> Self {
        let SocketFacts { id, family, protocol, local, remote, netns, cgroup: _, uid: _ } = *facts;
        Self {
            id,
            entered,
            opened: PlaceSlot::default(),
            phase: Phase::Open,
            told: None,
            load: None,
            local,
            remote,
            netns,
            owner: None,
            holders: (0, 0),
            listed: 0,
            protocol,
            family,
            eof_read: false,
            unaccepted: false,
            had_descriptor: false,
            awaited_by: None,
            missing: false,
        }
    }

    /// Whether this is what a snapshot found at the same address. Without cookies the endpoints have to tell.
    pub(super) fn is(&self, found: &SocketFacts) -> bool {
        match (self.id.cookie, found.id.cookie) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => (self.local, self.remote, self.netns) == (found.local, found.remote, found.netns),
        }
    }

    /// Whether an event with this id and of this time may be about it.
    pub(super) fn may_be(&self, id: SocketId, at: MonotonicNs) -> bool {
        self.id.may_be(id) && at.0 >= self.entered.earliest
    }

    /// Takes an owner that is known better than ours.
    pub(super) fn learn_owner(&mut self, owner: Option<Owner>) {
        if rank(owner.as_ref()) > rank(self.owner.as_ref()) {
            self.owner = owner;
        }
    }

    /// The same of what a snapshot says: as long as nobody is known to have accepted it, it belongs to whoever listens now, and to nobody
    /// when that one has exited.
    pub(super) fn learn_owner_now(&mut self, owner: Option<Owner>) {
        if self.is_of_listener() && rank(owner.as_ref()) <= rank(self.owner.as_ref()) {
            self.owner = owner;
        }
        self.learn_owner(owner);
    }

    /// A receive has returned 0.
    pub(super) fn learn_told(&mut self, told: Told) {
        self.eof_read = true;
        self.told = Some(told);
    }

    /// Whose it is.
    pub(super) fn process(&self) -> Option<ProcessId> {
        self.owner.map(|owner| owner.process())
    }

    /// The places that reports show: where it was opened, where its program was told of the end, where it was shut down.
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> + use<> {
        let told = self.told.and_then(|told| told.place.get());
        let left = self.phase.left().and_then(|left| left.place.get());
        [self.opened.get(), told, left].into_iter().flatten()
    }

    /// Takes a place where we have none.
    pub(super) fn learn_opened(&mut self, place: Option<PlaceId>) {
        if self.opened.get().is_none() {
            self.opened = place.into();
        }
    }

    /// Whether the program itself, and not a listener in its place, is known to have opened it.
    pub(super) fn has_opener(&self) -> bool {
        rank(self.owner.as_ref()) > rank_of(OwnerSource::Listen)
    }

    /// Whether the program is known to have got it: only who has accepted a socket can read it, or close it.
    pub(super) fn was_accepted(&self) -> bool {
        self.has_opener() || self.eof_read || self.had_descriptor
    }

    /// Whether all that is known is at which listener it was made.
    pub(super) fn is_of_listener(&self) -> bool {
        self.owner.is_some_and(|owner| owner.source == OwnerSource::Listen)
    }

    /// Whether no snapshot lists it although it is there: no iterator comes to the parent of MPTCP subflows until it has a descriptor.
    /// Its listener has it in its backlog, as long as that is not empty.
    pub(super) fn waits_unlisted(&self) -> bool {
        self.protocol == Protocol::Mptcp && self.phase == Phase::Open && self.is_of_listener() && !self.was_accepted()
    }

    /// Whether a snapshot has looked for its descriptors: not for those of a socket that was in a backlog then and has been
    /// accepted since.
    pub(super) fn was_looked_at(&self) -> bool {
        self.listed != 0 && !(self.unaccepted && self.was_accepted())
    }

    /// Takes its queues and times, read between `taken` and `complete`.
    pub(super) fn take_load(&mut self, load: &SocketLoad, taken: MonotonicNs, complete: MonotonicNs) {
        // The clocks of Multipath TCP are those of its data: an end may come without either.
        if self.protocol != Protocol::Mptcp {
            self.entered.narrow(load, taken, complete);
        }
        let before = self.load;
        let moved = before.map(|before| before.send_q != load.send_q);
        self.load = Some(Load {
            at: taken,
            recv_q: load.recv_q,
            send_q: load.send_q,
            sent_ago_ms: load.last_data_sent_ms,
            acked_ago_ms: load.last_ack_recv_ms,
            unread: self.unread(load, taken),
            sent_nothing: load.traffic.is_some_and(|traffic| traffic.sent == 0),
            unmoved_ms: match (before, moved) {
                (Some(before), Some(false)) => {
                    let elapsed = taken.0.saturating_sub(before.at.0) / NS_PER_MS;
                    before.unmoved_ms.saturating_add(u32::try_from(elapsed).unwrap_or(u32::MAX))
                }
                _ => 0,
            },
            movement: match moved {
                None => Movement::Unknown,
                Some(true) => Movement::Moved,
                Some(false) => Movement::Still,
            },
        });
    }

    /// What is in the receive queue, by what was read at `taken`.
    fn unread(&self, load: &SocketLoad, taken: MonotonicNs) -> Unread {
        if load.recv_q <= 1 {
            return Unread::Nothing;
        }
        let ns = |ms: u32| u64::from(ms) * NS_PER_MS;
        let came = taken.0.saturating_sub(ns(load.last_data_recv_ms));
        let remainder = Remainder {
            bytes: load.recv_q - 1,
            read_before: load.traffic.is_some_and(|traffic| traffic.received > u64::from(load.recv_q)),
            after_sent_ns: ns(load.last_data_sent_ms.saturating_sub(load.last_data_recv_ms)),
            before_end_ns: self.entered.latest.saturating_sub(came),
        };
        if is_last_words(&remainder) { Unread::LastWords } else { Unread::Data }
    }
}

/// How well an owner is known.
fn rank(owner: Option<&Owner>) -> u8 {
    owner.map_or(0, |owner| rank_of(owner.source))
}

fn rank_of(source: OwnerSource) -> u8 {
    match source {
        OwnerSource::Listen => 1,
        OwnerSource::Snapshot => 2,
        OwnerSource::Connect | OwnerSource::Accept => 3,
    }
}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In CLOSE_WAIT.
    Open,
    /// In LAST_ACK: closed, or shut down with its descriptor still open.
    Closing(Left),
    /// Out of CLOSE_WAIT with a descriptor, as far as is known.
    Ghost(Left),
}

impl Phase {
    /// How it left, if it has.
    pub(super) const fn left(self) -> Option<Left> {
        match self {
            Self::Open => None,
            Self::Closing(left) | Self::Ghost(left) => Some(left),
        }
    }
}

/// How it left CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) at: MonotonicNs,
    /// Where it was closed or shut down.
    pub(super) place: PlaceSlot,
    pub(super) by: LeftBy,
}

/// What took it out of CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftBy {
    /// Its program, into LAST_ACK: `shutdown()`, or `close()` if it is gone soon.
    Program,
    /// Anything else that ends a connection, into CLOSE: a reset, a time-out, a kill.
    Abort,
    /// It was found out of it.
    Unseen,
}

/// Who was told of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: MonotonicNs,
    pub(super) by: Actor,
    pub(super) place: PlaceSlot,
}

/// Its queues, as they were read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) at: MonotonicNs,
    pub(super) recv_q: u32,
    pub(super) send_q: u32,
    pub(super) sent_ago_ms: u32,
    pub(super) acked_ago_ms: u32,
    pub(super) unread: Unread,
    /// No data is known to have been sent at all.
    pub(super) sent_nothing: bool,
    /// For how long the send queue has been the same.
    pub(super) unmoved_ms: u32,
    pub(super) movement: Movement,
}

impl Load {
    /// When data was sent last, nanoseconds; where none was, when the connection was made.
    pub(super) fn sent_at(&self) -> u64 {
        self.at.0.saturating_sub(u64::from(self.sent_ago_ms) * NS_PER_MS)
    }
}

/// What is in the receive queue before the FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Nothing,
    LastWords,
    Data,
}

/// The send queue between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    /// It was read only once.
    Unknown,
    Moved,
    Still,
}

/// An optional place in eight bytes. One place of 2⁶⁴ has no room and counts as none: its stack would be shown as not
/// taken, never as another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PlaceSlot(Option<NonZeroU64>);

impl PlaceSlot {
    pub(super) fn get(self) -> Option<PlaceId> {
        self.0.map(|inverted| PlaceId(!inverted.get()))
    }
}

impl From<Option<PlaceId>> for PlaceSlot {
    fn from(place: Option<PlaceId>) -> Self {
        Self(place.and_then(|place| NonZeroU64::new(!place.0)))
    }
}

/// What a snapshot's state means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundAs {
    CloseWait,
    Ghost,
    /// On its way out, or of no interest.
    Gone,
}

impl FoundAs {
    pub(super) fn of(found: &FoundSocket) -> Self {
        match found.state {
            State::Known(TcpState::CloseWait) => Self::CloseWait,
            // In LAST_ACK with a descriptor: shut down and not closed.
            State::Known(TcpState::Close | TcpState::LastAck) if !found.holders.is_empty() => Self::Ghost,
            _ => Self::Gone,
        }
    }
}

// With the entry in the index and a descriptor this stays below 300 bytes a socket.
const _: () = assert!(size_of::<Option<Socket>>() <= 272);
