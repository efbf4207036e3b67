//! The sums of all groups: of as many as there is room for one by one, of the others only their sizes.

use std::cmp::Reverse;

use hashbrown::{HashMap, HashSet};

use super::{
    bounds::{Beyond, MOST_GROUPS, wanted_most},
    classify::Sighting,
    origin::Origin,
    sum::Sum,
    tracker::Leaks,
    trends::SocketKind,
};
use crate::model::MonotonicNs;

/// Sockets by their kind.
#[derive(Debug, Default)]
pub(super) struct Sums<'a> {
    sums: HashMap<SocketKind, Sum<'a>>,
    /// Kinds that found no room.
    others: HashMap<SocketKind, Size>,
    /// Of the others, those that are larger than some that found room.
    wanted: HashSet<SocketKind>,
}

/// How large a kind is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    socket_ns: u128,
    sockets: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.socket_ns += other.socket_ns;
        self.sockets += other.sockets;
    }
}

impl<'a> Sums<'a> {
    /// Takes a socket of a kind.
    pub(super) fn add(&mut self, kind: SocketKind, sighting: &Sighting<'a>, leaks: &Leaks, now: MonotonicNs) {
        let room = self.sums.len() < MOST_GROUPS;
        match self.sums.get_mut(&kind) {
            Some(sum) => sum.add(sighting, kind.0, leaks, now),
            None if room => self.sums.entry(kind).or_default().add(sighting, kind.0, leaks, now),
            None => {
                let one = Size { socket_ns: sighting.age.at_least_ns.into(), sockets: 1 };
                self.others.entry(kind).or_default().add(one);
            }
        }
    }

    /// Once all sockets were taken: makes room for kinds that found none and are larger than others. Returns whether there are any:
    /// then all sockets have to be shown to [`Sums::add_wanted`].
    pub(super) fn make_room(&mut self) -> bool {
        if self.others.is_empty() {
            return false;
        }
        let sums =
            self.sums.iter().map(|(&kind, sum)| (kind, Size { socket_ns: sum.socket_ns(), sockets: sum.sockets }));
        let all: Vec<(SocketKind, Size)> = sums.chain(self.others.iter().map(|(&kind, &size)| (kind, size))).collect();
        // What was seen and what was inferred from it are one to a reader: both or none.
        let mut together: HashMap<SocketKind, Size> = HashMap::new();
        for &((origin, verdict), size) in &all {
            together.entry((origin.as_if_seen(), verdict)).or_default().add(size);
        }
        let ranked = all
            .iter()
            .map(|&(kind @ (origin, verdict), _)| {
                let whole = together.get(&(origin.as_if_seen(), verdict)).copied().unwrap_or_default();
                (origin.process, (Reverse(whole), kind), kind)
            })
            .collect();
        let largest: HashSet<SocketKind> = wanted_most(ranked, MOST_GROUPS).collect();
        for (kind, size) in all {
            if !largest.contains(&kind) && self.sums.remove(&kind).is_some() {
                self.others.insert(kind, size);
            }
        }
        self.wanted = self.others.extract_if(|kind, _| largest.contains(kind)).map(|(kind, _)| kind).collect();
        !self.wanted.is_empty()
    }

    /// Takes a socket of a kind for which room was made.
    pub(super) fn add_wanted(&mut self, kind: SocketKind, sighting: &Sighting<'a>, leaks: &Leaks, now: MonotonicNs) {
        if self.wanted.contains(&kind) {
            self.sums.entry(kind).or_default().add(sighting, kind.0, leaks, now);
        }
    }

    /// How many sockets there are of each kind.
    pub(super) fn sockets(&self) -> HashMap<SocketKind, u64> {
        let sums = self.sums.iter().map(|(&kind, sum)| (kind, sum.sockets));
        sums.chain(self.others()).collect()
    }

    /// How many there are of those that found no room.
    pub(super) fn others(&self) -> impl Iterator<Item = (SocketKind, u64)> {
        self.others.iter().map(|(&kind, size)| (kind, size.sockets))
    }

    /// The kinds that found no room and are leaks, or are none.
    pub(super) fn beyond(&self, leaks: bool) -> Beyond {
        let kinds: HashMap<(Origin, _), u64> = self
            .others()
            .filter(|((_, verdict), _)| verdict.is_leak() == leaks)
            .fold(HashMap::new(), |mut kinds, ((origin, verdict), sockets)| {
                *kinds.entry((origin.as_if_seen(), verdict)).or_default() += sockets;
                kinds
            });
        Beyond { number: kinds.len() as u64, sockets: kinds.values().sum() }
    }

    /// The sums.
    pub(super) fn into_sums(self) -> HashMap<SocketKind, Sum<'a>> {
        self.sums
    }
}
