//! A report of `tcpstate leaks -o json`, as documented, as far as the tests look at it.

use serde::Deserialize;

use crate::support::event::Endpoint;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) mono_ns: u64,
    pub(crate) complete: bool,
    pub(crate) losses: Losses,
    /// What this kernel hides.
    pub(crate) unseen: Vec<String>,
    pub(crate) snapshot_age_ns: Option<u64>,
    pub(crate) totals: Totals,
    pub(crate) groups: Vec<Group>,
    pub(crate) groups_left_out: usize,
    pub(crate) sending: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Losses {
    pub(crate) events: u64,
    pub(crate) unrepaired: bool,
    pub(crate) stacks_skipped: u64,
    pub(crate) stacks_dropped: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Totals {
    pub(crate) close_wait: usize,
    pub(crate) young: usize,
    pub(crate) ghosts: usize,
    pub(crate) ghosts_known: bool,
    pub(crate) closed_late: usize,
}

/// Sockets of one owner, opening stack and verdict.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) verdict: String,
    pub(crate) verdict_inferred: usize,
    pub(crate) process: Option<Process>,
    pub(crate) sockets: usize,
    pub(crate) age: Ages,
    pub(crate) growth: Option<Growth>,
    pub(crate) recv_q: Option<Range>,
    pub(crate) nothing_sent: usize,
    /// Of how many nothing is unread but what came unasked with the end.
    pub(crate) last_words: usize,
    pub(crate) opened: Opened,
    pub(crate) told: Vec<Told>,
    pub(crate) evidence: String,
    pub(crate) advice: String,
    pub(crate) shut_down: Vec<ShutDown>,
    pub(crate) asleep: Vec<Asleep>,
    pub(crate) threads: Vec<Threads>,
    pub(crate) holders: Vec<Holders>,
    pub(crate) held_by_nobody: usize,
    pub(crate) peers: Vec<Peer>,
    pub(crate) backlogs: Vec<Backlog>,
    pub(crate) examples: Vec<Example>,
}

/// A listener.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Backlog {
    pub(crate) holders: Vec<Process>,
    pub(crate) waiting: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Growth {
    pub(crate) flat: bool,
}

/// Smallest and greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Range {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) comm: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ages {
    pub(crate) oldest: Age,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Age {
    pub(crate) at_least_ns: u64,
    pub(crate) at_most_ns: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Opened {
    pub(crate) port: Option<u16>,
    pub(crate) by: Option<Process>,
    pub(crate) thread: Option<String>,
    pub(crate) threads: usize,
    pub(crate) thread_names: Vec<ThreadName>,
    pub(crate) known: String,
    pub(crate) inferred: usize,
    /// Only where filters by process may leave out who opened them.
    pub(crate) left_out: Option<LeftOut>,
    pub(crate) stack: Option<Stack>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) listener: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct ThreadName {
    pub(crate) comm: String,
    pub(crate) sockets: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) addr: std::net::IpAddr,
    pub(crate) scope: Option<u32>,
    pub(crate) sockets: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) sockets: usize,
    pub(crate) by: Option<Thread>,
    pub(crate) through_event_loop: Option<String>,
    pub(crate) stack: Option<Stack>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShutDown {
    pub(crate) sockets: usize,
    pub(crate) stack: Option<Stack>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Thread {
    pub(crate) comm: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Asleep {
    pub(crate) threads: usize,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) stack: Option<Stack>,
}

/// Threads that do not sleep.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Threads {
    pub(crate) running: u64,
    pub(crate) stopped: u64,
    pub(crate) frozen: u64,
    pub(crate) busiest: Option<Busiest>,
    pub(crate) woken_by: Option<WokenBy>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Busiest {
    pub(crate) tid: u32,
    pub(crate) comm: String,
    pub(crate) cpu_permille: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WokenBy {
    pub(crate) epoll: u32,
    pub(crate) sockets: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Holders {
    pub(crate) pid: u32,
    pub(crate) sockets: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Example {
    pub(crate) cookie: Option<u64>,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
    pub(crate) age: Age,
    pub(crate) holders: Vec<Descriptor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) pid: u32,
    pub(crate) fd: u32,
}

/// Innermost frame first.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stack {
    pub(crate) frames: Vec<Frame>,
    pub(crate) kernel: Vec<String>,
    pub(crate) truncated: Option<String>,
    pub(crate) hint: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Frame {
    pub(crate) function: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
    pub(crate) language: Option<String>,
}
