//! Sockets that were closed, but late.

use std::{cmp::Reverse, collections::BTreeMap};

use hdrhistogram::Histogram;

use super::{origin::Origin, tally::Tally, threads::ThreadTally};
use crate::model::{MonotonicNs, Owner, leak::PlaceId};

/// Origins kept, 8 to 16 KiB each; when there are more, half of them go: those with the fewest sockets, of these the ones that have been
/// quiet longest. What comes once, from ever new code, does not drive out what comes again and again.
const ORIGINS: usize = 256;
/// Significant decimal digits of the quantiles.
const DIGITS: u8 = 2;

/// What is known of sockets of one origin that were closed late.
#[derive(Clone, Debug)]
pub(super) struct LateCloses {
    /// Microseconds in CLOSE_WAIT. A lower bound where the entry was not seen.
    pub(super) ages: Histogram<u32>,
    pub(super) oldest_ns: u64,
    /// Of these, the entry was not seen.
    pub(super) at_least: u64,
    /// Sockets that went while nothing was seen of it: closed or reset. Not in the histogram.
    pub(super) unseen: u64,
    pub(super) told: Tally<PlaceId>,
    pub(super) closed: Tally<PlaceId>,
    /// Who opened the last of them.
    pub(super) owner: Option<Owner>,
    pub(super) threads: ThreadTally,
    last: MonotonicNs,
}

/// One late close.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateClose {
    pub(super) at: MonotonicNs,
    pub(super) age_ns: u64,
    pub(super) exact: bool,
    pub(super) seen: bool,
    pub(super) told: Option<PlaceId>,
    pub(super) closed: Option<PlaceId>,
    pub(super) owner: Option<Owner>,
}

impl LateCloses {
    pub(super) fn new() -> Self {
        let ages = Histogram::new(DIGITS).expect("a constant within the crate's limits");
        Self {
            ages,
            oldest_ns: 0,
            at_least: 0,
            unseen: 0,
            told: Tally::default(),
            closed: Tally::default(),
            owner: None,
            threads: ThreadTally::default(),
            last: MonotonicNs(0),
        }
    }

    fn record(&mut self, close: &LateClose) {
        self.last = self.last.max(close.at);
        self.owner = close.owner.or(self.owner);
        self.threads.add(close.owner);
        if !close.seen {
            self.unseen += 1;
            return;
        }
        // It grows by itself; that fails only for times beyond what 64 bits of nanoseconds hold.
        let _ = self.ages.record(close.age_ns / 1000);
        self.oldest_ns = self.oldest_ns.max(close.age_ns);
        self.at_least += u64::from(!close.exact);
        self.told.extend(close.told);
        self.closed.extend(close.closed);
    }

    /// How many there are.
    pub(super) fn sockets(&self) -> u64 {
        self.ages.len() + self.unseen
    }

    /// Adds another origin's, whose stacks turned out to be the same.
    pub(super) fn merge(&mut self, other: &Self) {
        // Histograms of the same digits that both grow can always be added.
        let _ = self.ages.add(&other.ages);
        self.oldest_ns = self.oldest_ns.max(other.oldest_ns);
        self.at_least += other.at_least;
        self.unseen += other.unseen;
        self.told.merge(&other.told);
        self.closed.merge(&other.closed);
        self.owner = other.owner.or(self.owner);
        self.threads.merge(&other.threads);
        self.last = self.last.max(other.last);
    }
}

/// Late closes by origin.
#[derive(Debug, Default)]
pub(super) struct ClosedTable {
    origins: BTreeMap<Origin, LateCloses>,
    /// Late closes of origins that are no longer kept.
    pub(super) forgotten: u64,
}

impl ClosedTable {
    /// Allocates only for an origin that is not there yet, and for an age beyond those before.
    pub(super) fn record(&mut self, origin: Origin, close: &LateClose) {
        if self.origins.len() >= ORIGINS && !self.origins.contains_key(&origin) {
            self.forget_half();
        }
        self.origins.entry(origin).or_insert_with(LateCloses::new).record(close);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Origin, &LateCloses)> {
        self.origins.iter()
    }

    /// Those with the most sockets first.
    pub(super) fn by_size(&self) -> Vec<(&Origin, &LateCloses)> {
        let mut origins: Vec<_> = self.origins.iter().collect();
        origins.sort_by_key(|(_, closed)| Reverse(closed.sockets()));
        origins
    }

    fn forget_half(&mut self) {
        // Powers of two: of those that come about as often, the quiet ones go.
        let rank = |closed: &LateCloses| (closed.sockets().checked_ilog2(), closed.last);
        let mut origins: Vec<_> = self.origins.iter().map(|(&origin, closed)| (rank(closed), origin)).collect();
        origins.sort_unstable();
        for (_, origin) in origins.iter().take(ORIGINS / 2) {
            if let Some(closed) = self.origins.remove(origin) {
                self.forgotten += closed.sockets();
            }
        }
    }
}
