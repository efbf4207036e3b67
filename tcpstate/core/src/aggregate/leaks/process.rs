//! Processes as reports name them.

use super::trend::{Forecast, Growth};
use crate::model::{Comm, ProcessId, ProcessStart};

/// A process by number and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its name; `None` when it was not seen. Where the process is gone, the name of the thread that opened the sockets.
    pub comm: Option<Comm>,
    /// When it began; `None` in recordings that do not say.
    pub start: Option<ProcessStart>,
}

impl Process {
    /// A process and its name.
    #[must_use]
    pub fn new(ProcessId { pid, start }: ProcessId, comm: Option<Comm>) -> Self {
        Self { pid, comm, start }
    }

    /// Which it is.
    #[must_use]
    pub fn id(self) -> ProcessId {
        ProcessId { pid: self.pid, start: self.start }
    }
}

/// A process and its descriptors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakingProcess {
    /// The process.
    pub process: Process,
    /// Its leaked sockets: of all groups.
    pub sockets: u64,
    /// Of these, connections that nobody has accepted: they have no descriptor.
    pub unaccepted: u64,
    /// Its open descriptors, whatever they are; `None` when it was in no snapshot.
    pub descriptors: Option<u64>,
    /// `RLIMIT_NOFILE`, soft.
    pub limit: Option<u64>,
    /// How fast its descriptors grow in number, whatever they are; `None` when they have not been observed for long enough.
    pub descriptor_growth: Option<Growth>,
    /// How fast those of them grow in number that are of leaked sockets, whoever opened these and whatever their age.
    pub leaked_growth: Option<Growth>,
    /// When the limit will be reached; only with a trend of its descriptors that goes on.
    pub forecast: Option<Forecast>,
}
