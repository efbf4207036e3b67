//! The sockets by their address. At any moment one socket lives at an address; its cookie tells whether it is still the
//! same one.

use std::{collections::VecDeque, hash::BuildHasher as _};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::socket::{Phase, Socket};
use crate::model::{MonotonicNs, SocketId};

/// Sockets allocated at a time: growth never moves those that are there.
const CHUNK: usize = 1024;

/// Sockets in slots that are used again, and an index that holds nothing but their numbers.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    by_address: HashTable<u32>,
    hasher: DefaultHashBuilder,
    slots: Slots,
}

impl SocketTable {
    pub(super) fn get(&self, skaddr: u64) -> Option<&Socket> {
        let slot = *self.by_address.find(self.hash(skaddr), |&slot| self.slots.is_at(slot, skaddr))?;
        self.slots.get(slot)
    }

    pub(super) fn get_mut(&mut self, skaddr: u64) -> Option<&mut Socket> {
        let slot = *self.by_address.find(self.hash(skaddr), |&slot| self.slots.is_at(slot, skaddr))?;
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Puts a socket where none of its address is. Allocates only when there are more of them than ever.
    pub(super) fn insert(&mut self, socket: Socket) {
        let hash = self.hash(socket.id.skaddr);
        let slot = self.slots.fill(socket);
        let Self { by_address, hasher, slots } = self;
        by_address
            .insert_unique(hash, slot, |&slot| hasher.hash_one(slots.get(slot).map_or(0, |socket| socket.id.skaddr)));
    }

    pub(super) fn remove(&mut self, skaddr: u64) -> Option<Socket> {
        let hash = self.hash(skaddr);
        let Self { by_address, slots, .. } = self;
        let (slot, _) = by_address.find_entry(hash, |&slot| slots.is_at(slot, skaddr)).ok()?.remove();
        slots.clear(slot)
    }

    /// All sockets, in an order that depends on nothing but the events.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.chunks.iter().flatten().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.slots.chunks.iter_mut().flatten().flatten()
    }

    fn hash(&self, skaddr: u64) -> u64 {
        self.hasher.hash_one(skaddr)
    }
}

#[derive(Debug, Default)]
struct Slots {
    chunks: Vec<Vec<Option<Socket>>>,
    free: Vec<u32>,
}

impl Slots {
    fn get(&self, slot: u32) -> Option<&Socket> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Option<Socket>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }

    fn is_at(&self, slot: u32, skaddr: u64) -> bool {
        self.get(slot).is_some_and(|socket| socket.id.skaddr == skaddr)
    }

    fn fill(&mut self, socket: Socket) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        if let Some(place) = self.get_mut(slot) {
            *place = Some(socket);
        }
        slot
    }

    fn clear(&mut self, slot: u32) -> Option<Socket> {
        self.free.push(slot);
        self.get_mut(slot)?.take()
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
        // A `struct tcp_sock` takes more than 1 KiB: 2^32 of them do not fit into any memory.
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
