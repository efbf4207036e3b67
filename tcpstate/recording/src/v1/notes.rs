//! Names, counts and the end.

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{MonotonicNs, Totals, Unseen};

use super::many::Many;
use crate::content::{Counts, Names, RecordingEnd};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NamesV1 {
    cgroups: Many<(u64, Vec<u8>)>,
    netns: Many<(u32, Vec<u8>)>,
    parents: Many<(u32, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountsV1 {
    at: u64,
    totals: TotalsV1,
}

#[derive(Debug, Serialize, Deserialize)]
struct TotalsV1 {
    transitions: u64,
    seen: u64,
    lost: u64,
    filtered: u64,
    map_full: u64,
    unknown_state: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnseenV1 {
    transitions: u64,
    sockets: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndV1 {
    at: u64,
    rotated: bool,
}

impl From<Names> for NamesV1 {
    fn from(Names { cgroups, netns, parents }: Names) -> Self {
        Self { cgroups: cgroups.into(), netns: netns.into(), parents: parents.into() }
    }
}

impl From<NamesV1> for Names {
    fn from(NamesV1 { cgroups, netns, parents }: NamesV1) -> Self {
        Self { cgroups: cgroups.into(), netns: netns.into(), parents: parents.into() }
    }
}

impl From<Counts> for CountsV1 {
    fn from(Counts { at, totals }: Counts) -> Self {
        let Totals { transitions, seen, lost, filtered, map_full, unknown_state } = totals;
        Self { at: at.0, totals: TotalsV1 { transitions, seen, lost, filtered, map_full, unknown_state } }
    }
}

impl From<CountsV1> for Counts {
    fn from(CountsV1 { at, totals }: CountsV1) -> Self {
        let TotalsV1 { transitions, seen, lost, filtered, map_full, unknown_state } = totals;
        Self { at: MonotonicNs(at), totals: Totals { transitions, seen, lost, filtered, map_full, unknown_state } }
    }
}

impl From<Unseen> for UnseenV1 {
    fn from(Unseen { transitions, sockets }: Unseen) -> Self {
        Self { transitions, sockets }
    }
}

impl From<UnseenV1> for Unseen {
    fn from(UnseenV1 { transitions, sockets }: UnseenV1) -> Self {
        Self { transitions, sockets }
    }
}

impl From<RecordingEnd> for EndV1 {
    fn from(RecordingEnd { at, rotated }: RecordingEnd) -> Self {
        Self { at: at.0, rotated }
    }
}

impl From<EndV1> for RecordingEnd {
    fn from(EndV1 { at, rotated }: EndV1) -> Self {
        Self { at: MonotonicNs(at), rotated }
    }
}
