//! What a group is made of: leaked sockets that have their origin and verdict in common.

use std::net::IpAddr;

use super::{
    bounds::Beyond, fate::Fate, origin::Origin, process::Process, tally::Tallied, threads::Threads, trend::Growth,
};
use crate::{
    aggregate::verdict::Verdict,
    model::{
        Age, Comm, Endpoint, Family, Protocol, SocketId,
        leak::{Actor, Holder, PlaceId},
    },
};

/// Sockets of one origin and one verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where they come from. Places are folded. [`Opening::Inferred`] where that was seen of none of them.
    ///
    /// [`Opening::Inferred`]: super::Opening::Inferred
    pub origin: Origin,
    /// Those of them of which the opening stack is inferred.
    pub inferred: Inferred,
    /// The process whose leak it is; `None` when neither an opener nor a holder is known.
    pub process: Option<Process>,
    /// The process that opened them, where it is another one.
    pub opener: Option<Process>,
    /// Name of the thread that opened the oldest.
    pub thread: Option<Comm>,
    /// All threads that were seen to open them.
    pub threads: Threads,
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
    /// The shortest and the longest time since data was sent, nanoseconds, of those on which any was.
    pub sent_ago_ns: Option<Range>,
    /// On how many no data was ever sent.
    pub nothing_sent: u64,
    /// The shortest and the longest time for which the send queue was seen not to move, nanoseconds.
    pub unmoved_ns: Option<Range>,
    /// Threads of the process and of other holders asleep in a send; `None` when nobody has looked.
    pub asleep_in_send: Option<u64>,
    /// How many have unread what looks like a server's last words, beside the FIN.
    pub last_words: u64,
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
    /// Those of them that are not listed.
    pub awaited_by_others: Beyond,
    /// Processes with descriptors, and of how many of the sockets.
    pub held: Held,
    /// The backlogs in which they wait; only of [`Verdict::NeverAccepted`].
    pub backlogs: Vec<Backlog>,
    /// Listeners that are not listed.
    pub other_backlogs: u64,
    /// The oldest ones.
    pub examples: Vec<Example>,
}

/// Sockets of before the trace that are taken for relatives of others, whose opening was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inferred {
    /// How many there are.
    pub sockets: u64,
    /// The sum of their ages, nanoseconds.
    pub socket_ns: u64,
    /// How many of them are drained, and nobody has seen whether a receive returned 0 as of the others: their verdict is inferred, too.
    pub verdict: u64,
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
    /// Processes that are not listed; a socket counts as often as they hold it.
    pub others: Beyond,
    /// Sockets that no process holds: in flight over a UNIX socket, or registered with `io_uring`.
    pub by_nobody: u64,
    /// Sockets of which nobody has looked for holders yet.
    pub unknown: u64,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Where it listens.
    pub local: Endpoint,
    /// Who listens.
    pub process: Option<Process>,
    /// Every process with a descriptor of it: any of them may accept.
    pub holders: Vec<Process>,
    /// Processes that are not listed.
    pub other_holders: u64,
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
    /// Descriptors that are not listed.
    pub other_holders: u64,
}
