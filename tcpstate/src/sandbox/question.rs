//! What the thread is asked, and what it answers.

use std::time::Instant;

use tcpstate_common::leak::Registers;
use tcpstate_core::model::{ProcessId, activity::WokenBy, stack::Stack};
use tokio::sync::oneshot;

use super::taken::TakenStack;

/// Named stacks that are on their way.
pub(crate) type Named = oneshot::Receiver<Vec<NamedStack>>;
/// Where threads sleep, on its way, in the order of the threads; none of those that could not be read.
pub(crate) type Sleeping = oneshot::Receiver<Vec<Option<Stack>>>;

/// What wakes processes, of which that is known.
pub(crate) type Wakers = Vec<(ProcessId, WokenBy)>;

/// A stack with names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedStack {
    /// The stack.
    pub(crate) stack: Stack,
    /// Whether all names were asked for: else there was no time for that.
    pub(crate) is_whole: bool,
}

/// A thread that sleeps, whose stack is wanted.
#[derive(Clone, Debug)]
pub(crate) struct SleeperStack {
    /// Its process.
    pub(crate) process: ProcessId,
    /// The thread.
    pub(crate) tid: u32,
    /// Registers of the thread in user space.
    pub(crate) registers: Registers,
    /// Its thread pointer; 0 when not known.
    pub(crate) thread_pointer: u64,
    /// Time that it had had a CPU for when these were read, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Addresses in the kernel, innermost first.
    pub(crate) kernel: Vec<u64>,
}

/// A process with a thread that does little else than run, of which it is asked what wakes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BusyProcess {
    /// Which.
    pub(crate) process: ProcessId,
    /// Descriptors of its leaked sockets.
    pub(crate) sockets: Vec<u32>,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Question {
    /// Names.
    Name { stacks: Vec<TakenStack>, deadline: Instant, answer: oneshot::Sender<Vec<NamedStack>> },
    /// Where threads sleep. What cannot be read is left out.
    Sleepers { threads: Vec<SleeperStack>, deadline: Instant, answer: oneshot::Sender<Vec<Option<Stack>>> },
    /// What wakes processes.
    Wakers { processes: Vec<BusyProcess>, deadline: Instant, answer: oneshot::Sender<Wakers> },
}
