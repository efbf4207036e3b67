//! Sockets that were closed, but late.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::origin::Origin;
use crate::model::{Comm, MonotonicNs, leak::PlaceId};

/// Origins kept; when there are more, the half that has been quiet longest goes.
const ORIGINS: usize = 2048;
/// Significant decimal digits of the quantiles.
const DIGITS: u8 = 2;
/// Different places remembered of each origin.
const PLACES: usize = 8;

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
    /// Thread that opened the last of them.
    pub(super) comm: Option<Comm>,
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
    pub(super) comm: Option<Comm>,
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
            comm: None,
            last: MonotonicNs(0),
        }
    }

    fn record(&mut self, close: &LateClose) {
        self.last = self.last.max(close.at);
        self.comm = close.comm.or(self.comm);
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

    /// Adds another origin's, whose stacks turned out to be the same.
    pub(super) fn merge(&mut self, other: &Self) {
        // Histograms of the same digits that both grow can always be added.
        let _ = self.ages.add(&other.ages);
        self.oldest_ns = self.oldest_ns.max(other.oldest_ns);
        self.at_least += other.at_least;
        self.unseen += other.unseen;
        self.told.merge(&other.told);
        self.closed.merge(&other.closed);
        self.comm = other.comm.or(self.comm);
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
            self.forget_quietest_half();
        }
        self.origins.entry(origin).or_insert_with(LateCloses::new).record(close);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Origin, &LateCloses)> {
        self.origins.iter()
    }

    fn forget_quietest_half(&mut self) {
        let mut quiet: Vec<_> = self.origins.iter().map(|(&origin, closed)| (closed.last, origin)).collect();
        quiet.sort_unstable();
        for (_, origin) in quiet.iter().take(ORIGINS / 2) {
            if let Some(closed) = self.origins.remove(origin) {
                self.forgotten += closed.ages.len() + closed.unseen;
            }
        }
    }
}

/// How often each of a few different things came.
#[derive(Clone, Debug)]
pub(super) struct Tally<T> {
    counts: Vec<(T, u64)>,
    /// Things that found no room.
    others: u64,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self { counts: Vec::new(), others: 0 }
    }
}

impl<T: Copy + Ord> Tally<T> {
    fn add(&mut self, thing: T, count: u64) {
        let room = self.counts.len() < PLACES;
        match self.counts.iter_mut().find(|(known, _)| *known == thing) {
            Some((_, known)) => *known += count,
            None if room => self.counts.push((thing, count)),
            None => self.others += count,
        }
    }

    /// The things that found room.
    pub(super) fn things(&self) -> impl Iterator<Item = T> {
        self.counts.iter().map(|&(thing, _)| thing)
    }

    fn merge(&mut self, other: &Self) {
        for &(thing, count) in &other.counts {
            self.add(thing, count);
        }
        self.others += other.others;
    }

    /// The most frequent ones with their numbers after `fold` has made some of them the same, and how many others came.
    pub(super) fn top(&self, n: usize, fold: impl Fn(T) -> T) -> (Vec<(T, u64)>, u64) {
        let mut folded = BTreeMap::new();
        for &(thing, count) in &self.counts {
            *folded.entry(fold(thing)).or_default() += count;
        }
        let (top, rest) = top(folded, n);
        (top, rest + self.others)
    }
}

impl<T: Copy + Ord> Extend<T> for Tally<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, things: I) {
        for thing in things {
            self.add(thing, 1);
        }
    }
}

/// The `n` with the highest counts, those first, equal ones in their own order; and the sum of the others' counts.
pub(super) fn top<T: Ord>(counts: BTreeMap<T, u64>, n: usize) -> (Vec<(T, u64)>, u64) {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let rest = counts.iter().skip(n).map(|&(_, count)| count).sum();
    counts.truncate(n);
    (counts, rest)
}
