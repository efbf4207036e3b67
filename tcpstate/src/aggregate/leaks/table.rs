//! The sockets by their address. At any moment one socket lives at an address; its cookie tells whether it is still the
//! same one.

use std::collections::{HashMap, VecDeque};

use super::socket::{Phase, Socket};
use crate::model::{MonotonicNs, SocketId};

/// Sockets allocated at a time: growth never moves those that are there.
const CHUNK: usize = 1024;

/// Sockets in slots that are used again.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_address: HashMap<u64, u32>,
    chunks: Vec<Vec<Option<Socket>>>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn get_mut(&mut self, skaddr: u64) -> Option<&mut Socket> {
        let slot = *self.by_address.get(&skaddr)?;
        self.slot_mut(slot)?.as_mut()
    }

    pub(super) fn get(&self, skaddr: u64) -> Option<&Socket> {
        let slot = *self.by_address.get(&skaddr)? as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    /// Puts a socket where none of its address is. Allocates once for [`CHUNK`] sockets more than there ever were.
    pub(super) fn insert(&mut self, socket: Socket) {
        let address = socket.id.skaddr;
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        if let Some(place) = self.slot_mut(slot) {
            *place = Some(socket);
            self.by_address.insert(address, slot);
        }
    }

    pub(super) fn remove(&mut self, skaddr: u64) -> Option<Socket> {
        let slot = self.by_address.remove(&skaddr)?;
        let socket = self.slot_mut(slot)?.take();
        self.free.push(slot);
        socket
    }

    /// All sockets, in an order that depends on nothing but the events.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.chunks.iter().flatten().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.chunks.iter_mut().flatten().flatten()
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Option<Socket>> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }

    /// A new slot, at the end.
    fn grow(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let last = self.chunks.last_mut().map_or(0, |chunk| {
            chunk.push(None);
            chunk.len() - 1
        });
        // Addresses of sockets are more than 1 KiB apart: 2^32 of them do not fit into memory.
        u32::try_from(before + last).unwrap_or(u32::MAX)
    }
}

/// What was told of sockets that are not in the table, so that a snapshot that was under way meanwhile does not put them
/// there as they were before.
#[derive(Debug, Default)]
pub(super) struct Gone {
    sockets: VecDeque<Departure>,
    /// Everything up to this moment may have been forgotten.
    forgotten: Option<MonotonicNs>,
}

/// Departures remembered, 4 MiB at most: what goes while a snapshot is taken and handed over.
const REMEMBERED: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Departure {
    id: SocketId,
    at: MonotonicNs,
    went: Went,
}

/// How far a socket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It is gone.
    Away,
    /// Out of CLOSE_WAIT.
    Out(Phase),
}

/// Whether a socket that a snapshot found went while it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WentSince {
    No,
    Yes(Went),
    /// Too many went to remember.
    Perhaps,
}

impl Gone {
    pub(super) fn remember(&mut self, id: SocketId, at: MonotonicNs, went: Went) {
        if self.sockets.len() == REMEMBERED {
            self.forgotten = self.sockets.pop_front().map(|departure| departure.at).max(self.forgotten);
        }
        self.sockets.push_back(Departure { id, at, went });
    }

    /// Forgets what went up to `moment`: snapshots to come begin later.
    pub(super) fn forget_until(&mut self, moment: MonotonicNs) {
        self.sockets.retain(|departure| departure.at > moment);
    }

    /// What went after `taken`, ready for questions.
    pub(super) fn since(&self, taken: MonotonicNs) -> GoneSince {
        let recent = self.sockets.iter().filter(|departure| departure.at > taken);
        GoneSince {
            last: recent.map(|&departure| (departure.id.skaddr, departure)).collect(),
            incomplete: self.forgotten.is_some_and(|forgotten| forgotten > taken),
        }
    }
}

/// What went after a moment; of each address the last.
#[derive(Debug)]
pub(super) struct GoneSince {
    last: HashMap<u64, Departure>,
    incomplete: bool,
}

impl GoneSince {
    /// `since` is when the socket entered its state, if that is known.
    pub(super) fn contains(&self, id: SocketId, since: Option<MonotonicNs>) -> WentSince {
        let Some(departure) = self.last.get(&id.skaddr) else {
            return if self.incomplete { WentSince::Perhaps } else { WentSince::No };
        };
        let other_cookie = matches!((departure.id.cookie, id.cookie), (Some(gone), Some(found)) if gone != found);
        let younger = since.is_some_and(|since| since > departure.at);
        match (younger, other_cookie) {
            (true, _) => WentSince::No,
            (false, false) => WentSince::Yes(departure.went),
            // Two sockets of one address may have gone, and only the last is here.
            (false, true) => WentSince::Perhaps,
        }
    }
}
