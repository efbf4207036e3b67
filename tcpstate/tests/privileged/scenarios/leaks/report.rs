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
    pub(crate) closed_late: usize,
}

/// Sockets of one owner, opening stack and verdict.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) verdict: String,
    pub(crate) process: Option<Process>,
    pub(crate) sockets: usize,
    pub(crate) age: Ages,
    pub(crate) opened: Opened,
    pub(crate) told: Vec<Told>,
    pub(crate) evidence: String,
    pub(crate) shut_down: Vec<ShutDown>,
    pub(crate) asleep: Vec<Asleep>,
    pub(crate) holders: Vec<Holders>,
    pub(crate) held_by_nobody: usize,
    pub(crate) examples: Vec<Example>,
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
    pub(crate) known: String,
    pub(crate) stack: Option<Stack>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) sockets: usize,
    pub(crate) by: Option<Thread>,
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
    pub(crate) tid: u32,
    pub(crate) stack: Option<Stack>,
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
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Frame {
    pub(crate) function: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
}
