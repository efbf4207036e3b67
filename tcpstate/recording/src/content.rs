//! What a recording says, in the types of the model: the same whatever version of the format holds it.

mod census;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tcpstate_core::{
    aggregate::leaks::LeakOptions,
    model::{
        MonotonicNs, Totals, Unseen,
        activity::Activity,
        census::Census,
        event::Event,
        leak::{FoundSocket, LeakLosses, PlaceId, Snapshot, Traffic},
        probes::Probes,
        stack::{Sleepers, Stack},
    },
};

pub use self::census::{CensusGaps, CensusPart, CensusRest};
use super::frame::FrameKind;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Where and how it was recorded: the first frame of every file.
    Start(Box<Start>),
    /// Events in the order in which the kernel sent them.
    Events(Vec<Event>),
    /// Some sockets of a snapshot; the [`Checkpoint`] that follows makes it whole.
    Sockets(Vec<FoundSocket>),
    /// How much has come and gone on the sockets of the [`Content::Sockets`] before, in their order; `None` of those without queues.
    Traffic(Vec<Option<Traffic>>),
    /// What the threads of leaking processes did at the moment of the [`Content::Checkpoint`] that follows.
    Activities(BTreeMap<u32, Activity>),
    /// How things stood.
    Checkpoint(Box<Checkpoint>),
    /// Stacks with names by place, in ascending order of places; a later one of the same place takes its place.
    Stacks(Vec<(PlaceId, Arc<Stack>)>),
    /// What filters need to know.
    Names(Names),
    /// What was counted.
    Counts(Counts),
    /// What was not handed to the recorder by the kernel, since the recording began; before the counts that it belongs to.
    Unseen(Unseen),
    /// Some sockets of a census; the [`CensusRest`] that follows makes it whole.
    CensusPart(CensusPart),
    /// Why a census does not have every process; the [`CensusRest`] that follows is of the same census.
    CensusGaps(CensusGaps),
    /// The rest of a census.
    Census(Box<CensusRest>),
    /// The end: the last frame of a recording that was ended, not cut off.
    End(RecordingEnd),
}

impl Content {
    /// The contents that a census is written as: its parts, what it lacks, then the rest. Of sockets what is counted is kept, not which they are:
    /// neither their cookies nor their order.
    pub fn of_census(census: Census, now: MonotonicNs) -> impl Iterator<Item = Self> {
        let (parts, gaps, rest) = CensusRest::split(census, now);
        let rest = gaps.map(Self::CensusGaps).into_iter().chain([Self::Census(Box::new(rest))]);
        parts.into_iter().map(Self::CensusPart).chain(rest)
    }

    /// What kind of frame says this.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Start(_) => FrameKind::Start,
            Self::Events(_) => FrameKind::Events,
            Self::Sockets(_) => FrameKind::Sockets,
            Self::Traffic(_) => FrameKind::Traffic,
            Self::Activities(_) => FrameKind::Activities,
            Self::Checkpoint(_) => FrameKind::Checkpoint,
            Self::Stacks(_) => FrameKind::Stacks,
            Self::Names(_) => FrameKind::Names,
            Self::Counts(_) => FrameKind::Counts,
            Self::Unseen(_) => FrameKind::Unseen,
            Self::CensusPart(_) => FrameKind::CensusPart,
            Self::CensusGaps(_) => FrameKind::CensusGaps,
            Self::Census(_) => FrameKind::Census,
            Self::End(_) => FrameKind::End,
        }
    }
}

/// The host and the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Whether it was recorded with filters by process.
    #[must_use]
    pub fn is_filtered_by_process(&self) -> bool {
        self.filters.iter().any(|filter| filter.starts_with("--pid") || filter.starts_with("--comm"))
    }
}

/// How things stood at a moment, so that a report can be made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The moment.
    pub now: MonotonicNs,
    /// The snapshot, if one was taken for it, without its sockets: those came before.
    pub snapshot: Option<Snapshot>,
    /// Threads asleep in a send by process; `None` when nobody has looked.
    pub in_send: Option<BTreeMap<u32, u32>>,
    /// Where threads of processes sleep.
    pub sleepers: BTreeMap<u32, Vec<Sleepers>>,
    /// What was lost.
    pub losses: LeakLosses,
    /// Whether events have been lost since the last snapshot was begun.
    pub unrepaired: bool,
}

/// What filters need to know beside events; later ones add to earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Paths of cgroups below the cgroup2 mount, such as `/system.slice`, by id.
    pub cgroups: Vec<(u64, Vec<u8>)>,
    /// Names of network namespaces as `ip netns` has them, by inode number.
    pub netns: Vec<(u32, Vec<u8>)>,
    /// Parents of processes, when the process was first met.
    pub parents: Vec<(u32, u32)>,
}

/// What was counted until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// When; everything of before is in the file.
    pub at: MonotonicNs,
    /// Transitions since the recording began, those in earlier files included.
    pub totals: Totals,
}

/// The recording was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingEnd {
    /// When.
    pub at: MonotonicNs,
    /// Whether another file follows.
    pub rotated: bool,
}
