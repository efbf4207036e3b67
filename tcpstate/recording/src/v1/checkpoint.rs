//! Checkpoints: how things stood at a moment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{Comm, MonotonicNs, leak::LeakLosses, stack::Sleepers};

use super::{many::Many, snapshot::SnapshotV1, socket::CommV1, stack::StackV1};
use crate::content::Checkpoint;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckpointV1 {
    now: u64,
    snapshot: Option<SnapshotV1>,
    in_send: Option<Many<(u32, u32)>>,
    sleepers: Many<(u32, Many<SleepersV1>)>,
    losses: LossesV1,
    unrepaired: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SleepersV1 {
    threads: u64,
    tid: u32,
    pid: u32,
    comm: CommV1,
    syscall: Option<String>,
    stack: StackV1,
}

#[derive(Debug, Serialize, Deserialize)]
struct LossesV1 {
    events: u64,
    map_full: u64,
    stacks_skipped: u64,
    stacks_dropped: u64,
}

impl From<Checkpoint> for CheckpointV1 {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { now, snapshot, in_send, sleepers, losses, unrepaired } = checkpoint;
        let of_process = |(pid, sleepers): (u32, Vec<_>)| (pid, sleepers.into_iter().map(Into::into).collect());
        Self {
            now: now.0,
            snapshot: snapshot.map(Into::into),
            in_send: in_send.map(|in_send| in_send.into_iter().collect()),
            sleepers: sleepers.into_iter().map(of_process).collect(),
            losses: losses.into(),
            unrepaired,
        }
    }
}

impl From<CheckpointV1> for Checkpoint {
    fn from(checkpoint: CheckpointV1) -> Self {
        let CheckpointV1 { now, snapshot, in_send, sleepers, losses, unrepaired } = checkpoint;
        let of_process =
            |(pid, sleepers): (u32, Many<SleepersV1>)| (pid, sleepers.into_iter().map(Into::into).collect());
        Self {
            now: MonotonicNs(now),
            snapshot: snapshot.map(Into::into),
            in_send: in_send.map(|in_send| in_send.into_iter().collect()),
            sleepers: sleepers.into_iter().map(of_process).collect(),
            losses: losses.into(),
            unrepaired,
        }
    }
}

impl From<Sleepers> for SleepersV1 {
    fn from(Sleepers { threads, tid, pid, comm, syscall, stack }: Sleepers) -> Self {
        Self { threads, tid, pid, comm: comm.0, syscall, stack: (&*stack).into() }
    }
}

impl From<SleepersV1> for Sleepers {
    fn from(SleepersV1 { threads, tid, pid, comm, syscall, stack }: SleepersV1) -> Self {
        Self { threads, tid, pid, comm: Comm(comm), syscall, stack: Arc::new(stack.into()) }
    }
}

impl From<LeakLosses> for LossesV1 {
    fn from(LeakLosses { events, map_full, stacks_skipped, stacks_dropped }: LeakLosses) -> Self {
        Self { events, map_full, stacks_skipped, stacks_dropped }
    }
}

impl From<LossesV1> for LeakLosses {
    fn from(LossesV1 { events, map_full, stacks_skipped, stacks_dropped }: LossesV1) -> Self {
        Self { events, map_full, stacks_skipped, stacks_dropped }
    }
}
