//! How often each of a few different things came.

use std::collections::BTreeMap;

/// Different things remembered.
const MOST: usize = 8;

/// The most frequent of many things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied<T> {
    /// Most frequent first.
    pub top: Vec<(T, u64)>,
    /// How many sockets the others have.
    pub others: u64,
}

impl<T> Default for Tallied<T> {
    fn default() -> Self {
        Self { top: Vec::new(), others: 0 }
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
        let room = self.counts.len() < MOST;
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

    pub(super) fn merge(&mut self, other: &Self) {
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
