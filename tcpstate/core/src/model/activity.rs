//! What the threads of a process do, apart from where they sleep.

use super::Comm;

/// Threads that do not sleep, of one process, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// How many have a CPU or wait for one.
    pub running: u64,
    /// How many a signal such as `SIGSTOP` has stopped.
    pub stopped: u64,
    /// How many a debugger has stopped.
    pub traced: u64,
    /// How many are frozen with their cgroup, as those of a paused container.
    pub frozen: u64,
    /// The one that has used most of a CPU since it was looked at before; `None` when none was, or none has used any.
    pub busiest: Option<Busiest>,
    /// What keeps that one from sleeping, if it is known.
    pub woken_by: Option<WokenBy>,
}

/// A thread, and how much of a CPU it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busiest {
    /// Its id.
    pub tid: u32,
    /// Its name.
    pub comm: Comm,
    /// Thousandths of a CPU.
    pub permille: u32,
    /// In which time, nanoseconds.
    pub window_ns: u64,
}

impl Busiest {
    /// Whether it has done little else than run.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.permille >= 500
    }
}

/// An epoll descriptor that tells at once of sockets that have ended, as often as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WokenBy {
    /// The descriptor.
    pub epoll: u32,
    /// How many leaked sockets of the process it watches for their end, level-triggered.
    pub sockets: u64,
}
