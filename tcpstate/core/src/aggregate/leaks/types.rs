//! What a survey is made of.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use super::{
    kept::Fate,
    origin::Origin,
    socket::EntryTime,
    trend::{Forecast, Growth},
};
pub use crate::model::Age;
use crate::{
    aggregate::verdict::Verdict,
    model::{
        Comm, Endpoint, Family, MonotonicNs, Protocol, SocketId,
        leak::{Actor, Holder, PlaceId},
    },
};

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
    /// The processes of all groups, those with the most sockets first.
    pub processes: Vec<LeakingProcess>,
    /// Leaks: by socket-seconds, guesses last.
    pub groups: Vec<Group>,
    /// Half-closes in use, by socket-seconds. No leaks.
    pub sending: Vec<Group>,
    /// Sockets that were closed, but late; the origins with most of them first.
    pub closed_late: Vec<ClosedLate>,
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

/// A process by number and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its name; `None` when it was not seen. Where the process is gone, the name of the thread that opened the sockets.
    pub comm: Option<Comm>,
}

/// A process and its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakingProcess {
    /// The process.
    pub process: Process,
    /// Its leaked sockets: of all groups.
    pub sockets: u64,
    /// Its open descriptors, whatever they are; `None` when it was in no snapshot.
    pub descriptors: Option<u64>,
    /// `RLIMIT_NOFILE`, soft.
    pub limit: Option<u64>,
    /// When that will be reached; only with a trend.
    pub forecast: Option<Forecast>,
}

/// Sockets of one origin and one verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where they come from. Places are folded.
    pub origin: Origin,
    /// The process whose leak it is; `None` when neither an opener nor a holder is known.
    pub process: Option<Process>,
    /// The process that opened them, where it is another one.
    pub opener: Option<Process>,
    /// Name of the thread that opened the oldest.
    pub thread: Option<Comm>,
    /// Why they are there.
    pub verdict: Verdict,
    /// What became of them, where that is told apart: their ages are those of that moment.
    pub fate: Option<Fate>,
    /// How many there are.
    pub sockets: u64,
    /// How many of the same origin were closed late.
    pub closed_late: u64,
    /// For how long they have been there.
    pub ages: Ages,
    /// The sum of their ages, nanoseconds.
    pub socket_ns: u64,
    /// How fast their number grows; `None` when they have not been observed for long enough.
    pub growth: Option<Growth>,
    /// Bytes unread; `None` when nobody has looked.
    pub recv_q: Option<Range>,
    /// Bytes not acknowledged; `None` when nobody has looked.
    pub send_q: Option<Range>,
    /// The shortest and the longest time since data was sent, nanoseconds.
    pub sent_ago_ns: Option<Range>,
    /// The shortest and the longest time for which the send queue was seen not to move, nanoseconds.
    pub unmoved_ns: Option<Range>,
    /// Threads of the process and of other holders asleep in a send; `None` when nobody has looked.
    pub asleep_in_send: Option<u64>,
    /// How many had their FIN, and all receives after it, before the eyes of the tracer.
    pub watched: u64,
    /// Who was told of the end, most frequent place first.
    pub told: Tallied<Teller>,
    /// What took them out of CLOSE_WAIT, of those that left it.
    pub left_by: LeftByCounts,
    /// Where they were shut down, of those that left CLOSE_WAIT.
    pub shut_down: Tallied<PlaceId>,
    /// Where the other ends are: most frequent first.
    pub peers: Tallied<Peer>,
    /// Processes of this host that have closed their own side only and wait to receive, and on how many of the sockets.
    pub awaited_by: Vec<(Process, u64)>,
    /// Processes with descriptors, and of how many of the sockets.
    pub held: Held,
    /// The backlogs in which they wait; only of [`Verdict::NeverAccepted`].
    pub backlogs: Vec<Backlog>,
    /// The oldest ones.
    pub examples: Vec<Example>,
}

/// What took sockets out of CLOSE_WAIT, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftByCounts {
    /// Their program: `shutdown()` of those whose descriptor is still open.
    pub shutdown: u64,
    /// A reset, a time-out or a kill.
    pub abort: u64,
    /// Nobody has seen it.
    pub unseen: u64,
}

/// Who holds the sockets of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Each process with the number of sockets it holds, most first.
    pub by: Vec<(Process, u64)>,
    /// Sockets that no process holds: in flight over a UNIX socket, or registered with `io_uring`.
    pub by_nobody: u64,
    /// Sockets of which nobody has looked for holders yet.
    pub unknown: u64,
}

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

/// A place where a program was told of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teller {
    /// Where, folded; `None` when the stack was not taken.
    pub place: Option<PlaceId>,
    /// One of the threads that were told; `None` when that was before the trace.
    pub by: Option<Actor>,
    /// Whether others were told there, too.
    pub and_others: bool,
}

/// The other end of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its address.
    pub addr: IpAddr,
    /// Its port, where it is the service; `None` where it is the client.
    pub port: Option<u16>,
}

/// Smallest and greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Smallest.
    pub min: u64,
    /// Greatest.
    pub max: u64,
}

impl Range {
    /// The range that contains both.
    #[must_use]
    pub fn with(range: Option<Self>, value: u64) -> Self {
        range.map_or(Self { min: value, max: value }, |Self { min, max }| Self {
            min: min.min(value),
            max: max.max(value),
        })
    }
}

impl Age {
    pub(super) fn of(entered: EntryTime, now: MonotonicNs) -> Self {
        let since = |moment: u64| now.0.saturating_sub(moment);
        Self { at_least_ns: since(entered.latest), at_most_ns: (entered.earliest > 0).then(|| since(entered.earliest)) }
    }

    /// Whether it is known exactly.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.at_most_ns == Some(self.at_least_ns)
    }
}

/// Ages of the sockets of a group; of those whose entry was not seen the lower bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Median, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 are no older, nanoseconds.
    pub p99_ns: u64,
    /// That of the oldest.
    pub oldest: Age,
    /// That of the youngest, nanoseconds.
    pub youngest_ns: u64,
    /// Sockets whose age is a lower bound.
    pub inexact: u64,
}

/// A listener whose backlog holds connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Where it listens.
    pub local: Endpoint,
    /// Who listens.
    pub process: Option<Process>,
    /// Connections waiting.
    pub waiting: u32,
    /// Most that may wait.
    pub limit: u32,
    /// Connection requests it has dropped since it was made.
    pub dropped: u32,
}

/// One socket of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Which it is.
    pub id: SocketId,
    /// Address family.
    pub family: Family,
    /// Protocol.
    pub protocol: Protocol,
    /// Local end.
    pub local: Endpoint,
    /// Remote end.
    pub remote: Endpoint,
    /// Time in CLOSE_WAIT; of a ghost descriptor the time since that began.
    pub age: Age,
    /// Of a ghost descriptor: the time since it left CLOSE_WAIT, nanoseconds. A lower bound where that was not seen.
    pub left_ago_ns: Option<u64>,
    /// Bytes unread, `None` when nobody has looked.
    pub recv_q: Option<u32>,
    /// Bytes not acknowledged, `None` when nobody has looked.
    pub send_q: Option<u32>,
    /// Descriptors.
    pub holders: Vec<Holder>,
}

/// Sockets of one origin that were closed, but late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedLate {
    /// Where they came from. Places are folded.
    pub origin: Origin,
    /// The process they belonged to.
    pub process: Option<Process>,
    /// Name of the thread that opened the last of them.
    pub thread: Option<Comm>,
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
