//! What a survey is made of, and what it needs to know.

use std::{collections::BTreeMap, fmt};

use super::{
    bounds::Surplus,
    group::Group,
    origin::Origin,
    process::{LeakingProcess, Process},
    tally::Tallied,
    threads::Threads,
};
use crate::model::{Comm, MonotonicNs, leak::PlaceId};

/// What a survey needs to know beside the sockets.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: MonotonicNs,
    /// Threads asleep in a send (`sendto`, `sendmsg`, `write` …) by process; `None` when nobody has looked.
    pub asleep_in_send: Option<&'a BTreeMap<u32, u32>>,
    /// One place for all places whose stacks look the same.
    pub fold: &'a dyn Fn(PlaceId) -> PlaceId,
}

impl fmt::Debug for Observed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, asleep_in_send, fold: _ } = self;
        f.debug_struct("Observed").field("now", now).field("asleep_in_send", asleep_in_send).finish_non_exhaustive()
    }
}

/// How things stand at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// The moment.
    pub now: MonotonicNs,
    /// When the last snapshot was begun, if there was one.
    pub snapshot: Option<MonotonicNs>,
    /// Numbers over everything.
    pub totals: LeakTotals,
    /// The processes of all leaks, those with the most sockets first.
    pub processes: Vec<LeakingProcess>,
    /// Leaks: the largest by socket-seconds, guesses last.
    pub groups: Vec<Group>,
    /// Half-closes in use, by socket-seconds. No leaks.
    pub sending: Vec<Group>,
    /// Sockets that were closed, but late; the origins with most of them first.
    pub closed_late: Vec<ClosedLate>,
    /// Where filters by process are in use: who listens at which port of which network namespace, where that is one process. It may
    /// have accepted sockets that others hold.
    pub left_out: BTreeMap<(u32, u16), Process>,
    /// What was left out because there was too much of it.
    pub surplus: Surplus,
    /// If some sockets can be shown or dismissed only after another snapshot: when that may be taken, nanoseconds from now.
    pub settles_in_ns: Option<u64>,
}

/// Numbers over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakTotals {
    /// Sockets in CLOSE_WAIT, whatever their age and verdict: what `ss -tan state close-wait` counts.
    pub close_wait: u64,
    /// Processes that these belong to.
    pub processes: u64,
    /// Of these sockets, half-closes in use.
    pub sending: u64,
    /// Of these sockets, those that are, or may be, younger than asked for. In no group.
    pub young: u64,
    /// Ghost descriptors.
    pub ghosts: u64,
    /// Sockets closed late, from the start on.
    pub closed_late: u64,
    /// Of the sockets closed late, those whose origin is no longer kept.
    pub closed_forgotten: u64,
}

/// Sockets of one origin that were closed, but late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedLate {
    /// Where they came from. Places are folded. [`Opening::Inferred`] where that was seen of none of them.
    ///
    /// [`Opening::Inferred`]: super::Opening::Inferred
    pub origin: Origin,
    /// Of all these, those of which the opening stack is inferred.
    pub inferred: u64,
    /// The process they belonged to.
    pub process: Option<Process>,
    /// Name of the thread that opened the last of them.
    pub thread: Option<Comm>,
    /// All threads that were seen to open them.
    pub threads: Threads,
    /// Sockets whose end was seen.
    pub sockets: u64,
    /// Of these, those whose entry was not seen: their time is a lower bound.
    pub at_least: u64,
    /// Sockets that went while nothing was seen of it. Not among the others.
    pub unseen: u64,
    /// Median of their time in CLOSE_WAIT, nanoseconds, to two digits.
    pub p50_ns: u64,
    /// 99 of 100 were closed sooner, nanoseconds, to two digits.
    pub p99_ns: u64,
    /// The longest, nanoseconds.
    pub max_ns: u64,
    /// How many took up to how long: upper ends, nanoseconds, twice the one before, and numbers.
    pub histogram: Vec<(u64, u64)>,
    /// Where their programs were told of the end.
    pub told: Tallied<PlaceId>,
    /// Where they were closed.
    pub closed: Tallied<PlaceId>,
}
