//! The places whose stacks get names: as many as there is room for, those that most is said of first.

use std::{cmp::Reverse, collections::BTreeSet};

use hashbrown::HashMap;

use super::bounds::{MOST_PLACES, wanted_most};
use crate::model::{ProcessId, leak::PlaceId};

/// Places in the order in which they are wanted.
#[derive(Debug, Default)]
pub(super) struct Places {
    sockets: HashMap<PlaceId, OfPlace>,
    wanted: BTreeSet<PlaceId>,
}

/// What is said of a place.
#[derive(Debug)]
struct OfPlace {
    /// Whose sockets they are.
    process: Option<ProcessId>,
    sockets: u64,
    /// When the oldest of them entered `CLOSE_WAIT`.
    oldest_ns: u64,
}

impl Places {
    /// Those of a socket of a process that entered `CLOSE_WAIT` at that time, nanoseconds.
    pub(super) fn add(&mut self, process: Option<ProcessId>, places: impl Iterator<Item = PlaceId>, entered_ns: u64) {
        for place in places {
            let of_place = self.sockets.entry(place).or_insert(OfPlace { process, sockets: 0, oldest_ns: u64::MAX });
            of_place.sockets += 1;
            of_place.oldest_ns = entered_ns.min(of_place.oldest_ns);
        }
    }

    /// Ends the first kind of places: some of each process, then those with the most sockets come first, among equals those with the
    /// oldest.
    pub(super) fn rank(&mut self) {
        let sockets = std::mem::take(&mut self.sockets);
        if sockets.len() <= MOST_PLACES {
            self.wanted.extend(sockets.into_keys());
            return;
        }
        let ranked = sockets.into_iter().map(|(place, OfPlace { process, sockets, oldest_ns })| {
            (process, (Reverse(sockets), oldest_ns, place), place)
        });
        self.wanted.extend(wanted_most(ranked.collect(), MOST_PLACES));
    }

    /// Those that are wanted after all others.
    pub(super) fn add_last(&mut self, places: impl Iterator<Item = PlaceId>) {
        for place in places {
            if self.wanted.len() < MOST_PLACES {
                self.wanted.insert(place);
            }
        }
    }

    /// The places that get names.
    pub(super) fn finish(self) -> BTreeSet<PlaceId> {
        self.wanted
    }
}
