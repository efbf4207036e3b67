//! Stacks that were taken before the filters could tell whether they want the socket: bytes that nobody looks at until a record, which
//! the filters let through, names their place. A local port that the kernel chooses is not known yet at `connect()`, and neither are
//! the addresses of Multipath TCP.

use std::collections::{BTreeMap, HashMap, HashSet};

use tcpstate_common::{
    interpreted::InterpretedStack,
    leak::{KernelStack, StackHeader},
};
use tcpstate_core::model::leak::PlaceId;

use crate::kernel::StackRecord;

/// Copies that wait, at most.
pub(super) const MOST: usize = 256;
/// Bytes of all of them.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// A stack copy as it came.
#[derive(Debug)]
pub(super) struct Copied {
    header: StackHeader,
    interpreted: InterpretedStack,
    kernel: KernelStack,
    bytes: Vec<u8>,
}

impl Copied {
    pub(super) fn of(record: &StackRecord<'_>) -> Self {
        let StackRecord { header, interpreted, kernel, bytes } = *record;
        Self { header, interpreted, kernel, bytes: bytes.to_vec() }
    }

    pub(super) fn record(&self) -> StackRecord<'_> {
        let Self { header, interpreted, kernel, ref bytes } = *self;
        StackRecord { header, interpreted, kernel, bytes }
    }
}

/// The copies that wait, the latest one of each place.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    copies: HashMap<PlaceId, (u64, Copied)>,
    /// Their places as they came.
    order: BTreeMap<u64, PlaceId>,
    bytes: usize,
    came: u64,
    /// Places that records have named since stacks were taken last: their copies may be on their way.
    named: HashSet<PlaceId>,
}

impl Undecided {
    /// A record names a place. It may be one that no copy waits for.
    pub(super) fn name(&mut self, place: PlaceId) {
        self.named.insert(place);
    }

    /// Whether a record has just named it.
    pub(super) fn is_named(&self, place: PlaceId) -> bool {
        self.named.contains(&place)
    }

    /// Keeps a copy. Returns the places whose copies make room for it, which are gone.
    pub(super) fn keep(&mut self, copied: Copied) -> Vec<PlaceId> {
        let place = PlaceId(copied.header.place);
        self.remove(place);
        self.came += 1;
        self.bytes += copied.bytes.len();
        self.order.insert(self.came, place);
        self.copies.insert(place, (self.came, copied));
        let mut gone = Vec::new();
        while self.copies.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.remove(oldest);
            gone.push(oldest);
        }
        gone
    }

    /// The copies whose places records have named; what was named is forgotten.
    pub(super) fn take(&mut self) -> Vec<Copied> {
        let named = std::mem::take(&mut self.named);
        named.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    fn remove(&mut self, place: PlaceId) -> Option<Copied> {
        let (came, copied) = self.copies.remove(&place)?;
        self.order.remove(&came);
        self.bytes -= copied.bytes.len();
        Some(copied)
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    fn copied(place: u64, bytes: usize) -> Copied {
        let header = StackHeader { place, ..StackHeader::zeroed() };
        let (interpreted, kernel) = (InterpretedStack::zeroed(), KernelStack::zeroed());
        Copied { header, interpreted, kernel, bytes: vec![0; bytes] }
    }

    #[test]
    fn only_what_is_named_comes_out_and_once() {
        let mut undecided = Undecided::default();
        for place in [1, 2, 3] {
            assert!(undecided.keep(copied(place, 8)).is_empty());
        }
        assert!(undecided.take().is_empty());
        undecided.name(PlaceId(2));
        undecided.name(PlaceId(9));
        assert!(undecided.is_named(PlaceId(9)));
        let places: Vec<u64> = undecided.take().iter().map(|copied| copied.header.place).collect();
        assert_eq!(places, [2]);
        assert!(!undecided.is_named(PlaceId(9)));
        undecided.name(PlaceId(2));
        assert!(undecided.take().is_empty());
        assert_eq!((undecided.copies.len(), undecided.order.len(), undecided.bytes), (2, 2, 16));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut undecided = Undecided::default();
        for place in 0..MOST as u64 {
            assert!(undecided.keep(copied(place, 1)).is_empty());
        }
        // One that comes again is the latest.
        assert!(undecided.keep(copied(0, 1)).is_empty());
        assert_eq!(undecided.keep(copied(1000, 1)), [PlaceId(1)]);
        let gone = undecided.keep(copied(1001, MOST_BYTES - 9));
        assert_eq!((gone.len(), undecided.copies.len()), (MOST - 9, 10));
        assert!(undecided.copies.contains_key(&PlaceId(0)) && undecided.bytes <= MOST_BYTES);
    }
}
