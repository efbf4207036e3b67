//! Processes as reports name them.

use super::trend::Forecast;
use crate::model::Comm;

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
