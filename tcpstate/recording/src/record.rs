//! What the frames mean, apart from events.

mod stack;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::stack::StackRecord;
use tcpstate_core::{
    aggregate::leaks::LeakOptions,
    model::{
        Comm, MonotonicNs, Totals,
        leak::{FoundHolder, FoundListener, FoundSocket, LeakLosses, PlaceId},
        probes::Probes,
        stack::Sleepers,
    },
};

use super::frame::FrameError;

/// Sockets in one [`Sockets`] at most, so that no frame is too long however many there are.
pub const SOCKETS_AT_A_TIME: usize = 50_000;

/// The host and the settings: the first frame of every file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Version of the program that recorded.
    pub tcpstate: String,
    /// Name of the host (`uname -n`).
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`: two recordings of one boot have the same monotonic clock.
    pub boot_id: String,
    /// When the recording began, `CLOCK_MONOTONIC`.
    pub at: MonotonicNs,
    /// `CLOCK_REALTIME - CLOCK_MONOTONIC` at that moment, nanoseconds.
    pub wall_offset_ns: i64,
    /// Name of the time zone in the tz database, if there is one.
    pub zone: Option<String>,
    /// Seconds east of UTC of that zone at that moment.
    pub zone_offset_s: i32,
    /// The filters of the recording as they were given; what they reject is not in it.
    pub filters: Vec<String>,
    /// Sockets younger than this were closed without a stack being taken, nanoseconds.
    pub late_ns: u64,
    /// Bytes of stacks that were copied.
    pub stack_bytes: u32,
    /// Number of the file, from 0, where a recording is rotated.
    pub file: u32,
    /// What was attached.
    pub probes: Probes,
}

impl Start {
    /// What the aggregator has to know of how it was recorded.
    #[must_use]
    pub fn leak_options(&self, older_than: Duration) -> LeakOptions {
        LeakOptions::seen_by(&self.probes.hooks, older_than)
    }
}

/// Part of a snapshot; the [`Checkpoint`] that follows makes it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// Sockets in CLOSE_WAIT and ghost descriptors.
    pub sockets: Vec<FoundSocket>,
}

/// A snapshot without its sockets, which came before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// See [`tcpstate_core::model::leak::Snapshot::taken`].
    pub taken: MonotonicNs,
    /// See [`tcpstate_core::model::leak::Snapshot::complete`].
    pub complete: MonotonicNs,
    /// Listeners with a backlog.
    pub listeners: Vec<FoundListener>,
    /// The processes that hold the sockets.
    pub processes: Vec<FoundHolder>,
}

/// A moment at which things were looked at: a report can be made for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The moment.
    pub now: MonotonicNs,
    /// The snapshot, if one was taken for it.
    pub snapshot: Option<Taken>,
    /// Threads asleep in a send by process; `None` when nobody has looked.
    pub in_send: Option<BTreeMap<u32, u32>>,
    /// Where threads of processes sleep.
    pub sleepers: Vec<(u32, Vec<SleepersRecord>)>,
    /// What was lost.
    pub losses: LeakLosses,
    /// Whether events have been lost since the last snapshot was begun.
    pub unrepaired: bool,
}

/// Threads that sleep at the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SleepersRecord {
    threads: u64,
    tid: u32,
    pid: u32,
    comm: Comm,
    syscall: Option<String>,
    stack: StackRecord,
}

impl From<&Sleepers> for SleepersRecord {
    fn from(sleepers: &Sleepers) -> Self {
        let Sleepers { threads, tid, pid, comm, syscall, stack } = sleepers;
        Self {
            threads: *threads,
            tid: *tid,
            pid: *pid,
            comm: *comm,
            syscall: syscall.clone(),
            stack: stack.as_ref().into(),
        }
    }
}

impl From<&SleepersRecord> for Sleepers {
    fn from(record: &SleepersRecord) -> Self {
        let SleepersRecord { threads, tid, pid, comm, syscall, stack } = record;
        Self {
            threads: *threads,
            tid: *tid,
            pid: *pid,
            comm: *comm,
            syscall: syscall.clone(),
            stack: std::sync::Arc::new(stack.into()),
        }
    }
}

/// Stacks with names, by place; a later one of the same place takes its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stacks {
    /// In ascending order of places.
    pub stacks: Vec<(PlaceId, StackRecord)>,
}

/// What filters need to know beside events; later ones add to earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Paths of cgroups below the cgroup2 mount, such as `/system.slice`, by id.
    pub cgroups: Vec<(u64, Vec<u8>)>,
    /// Names of network namespaces as `ip netns` has them, by inode number.
    pub netns: Vec<(u32, Vec<u8>)>,
    /// Parents of processes, when the process was first met.
    pub parents: Vec<(u32, u32)>,
}

/// What was counted until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// When; everything of before is in the file.
    pub at: MonotonicNs,
    /// Transitions since the recording began, those in earlier files included.
    pub totals: Totals,
}

/// The recording was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: MonotonicNs,
    /// Whether another file follows.
    pub rotated: bool,
}

/// Bytes of a record.
///
/// # Errors
///
/// When there is no memory.
pub fn encode(record: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_stdvec(record)
}

/// A record of bytes.
///
/// # Errors
///
/// When they are none of that record.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    postcard::from_bytes(bytes).map_err(|error| FrameError::Content(error.to_string()))
}
