//! How much is kept and said at most. Whoever traces what others run cannot choose how many processes, places and peers there are.

use std::hash::Hash;

use hashbrown::HashMap;

/// Groups that are summed up one by one, the largest; of the others it is only known how many sockets they are. Some 3 MiB.
pub(super) const MOST_GROUPS: usize = 1024;
/// Kinds of sockets whose numbers are followed over time, 1 KiB each. Twice as many as are summed up: what is gone for a while is
/// remembered.
pub(super) const MOST_TRENDS: usize = 2 * MOST_GROUPS;
/// Processes whose numbers of descriptors are followed over time, 2 KiB each.
pub(super) const MOST_FOLLOWED: usize = 2048;
/// Processes of which a survey has a row, those with the most sockets.
pub(super) const MOST_ROWS: usize = 256;
/// Processes and listeners that are listed by name of a group, those with the most sockets.
pub(super) const MOST_LISTED: usize = 64;
/// Places that get names for a survey, about 4 KiB each: of sockets that are there, those with the most sockets and the oldest; then
/// those of late closes.
pub(super) const MOST_PLACES: usize = 4096;
/// Ports that are remembered to be listened on, with their network namespaces; 12 bytes each.
pub(super) const MOST_LISTENING: usize = 1 << 16;

/// Groups and places of each process that come before those of processes that have more of them: nobody hides the leaks of others by
/// leaking in ever so many places.
const FIRST_OF_EACH: usize = 16;

/// The `most` of `items` that are wanted most: of each process some, the smallest by their key, then the smallest of all.
pub(super) fn wanted_most<P: Eq + Hash, K: Ord, T>(mut items: Vec<(P, K, T)>, most: usize) -> impl Iterator<Item = T> {
    items.sort_unstable_by(|(_, one, _), (_, other, _)| one.cmp(other));
    let mut of_each: HashMap<P, usize> = HashMap::new();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for (process, _, item) in items {
        let before = of_each.entry(process).or_default();
        let line = if *before < FIRST_OF_EACH { &mut first } else { &mut others };
        line.push(item);
        *before += 1;
    }
    first.into_iter().chain(others).take(most)
}

/// What was left out because there was too much of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Leaks that are not among the survey's groups, and their sockets.
    pub groups: Beyond,
    /// The same of half-closes in use.
    pub sending: Beyond,
    /// Kinds of sockets that are not followed over time: their groups have no growth.
    pub trends: u64,
    /// Processes that have no row, and their sockets.
    pub processes: Beyond,
    /// Processes with descriptors of leaking sockets that are not followed over time: they have neither growth nor forecast.
    pub followed: u64,
    /// Places whose stacks get no names.
    pub places: u64,
    /// Ports that were listened on and are not remembered, from the start on: of sockets of before the trace it may not be known
    /// whether they were accepted.
    pub listening: u64,
}

/// What is not listed one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// How many groups or processes.
    pub number: u64,
    /// How many sockets they have.
    pub sockets: u64,
}

impl Beyond {
    /// Cuts a list with numbers of sockets to its first `most`; returns what it had beyond these.
    pub(super) fn of<T>(list: &mut Vec<(T, u64)>, most: usize) -> Self {
        let beyond = list.drain(most.min(list.len())..);
        beyond.fold(Self::default(), |Self { number, sockets }, (_, more)| Self {
            number: number + 1,
            sockets: sockets + more,
        })
    }
}
