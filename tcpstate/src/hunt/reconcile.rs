//! Snapshots of leaking sockets: when one is due, how it is taken, and what it repairs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use tcpstate_broker::process::{descriptors, start};
use tcpstate_core::{
    decode::finds::Finds,
    model::{
        ProcessId, ProcessStart,
        leak::{FoundHolder, Snapshot},
    },
};

use super::engine::Hunt;
use crate::{host::memory, kernel::Tracer, session::Clock};

/// How often snapshots repair what events may have left wrong, at least.
const RECONCILE: Duration = Duration::from_secs(10);
/// Snapshots take at most this part of the time, else they are taken for every report: they also say who holds the sockets and
/// what is in their queues.
const SNAPSHOT_PART: u32 = 50;
/// A snapshot of more sockets leaves memory behind that is worth giving back.
const MANY: usize = 10_000;

impl Hunt {
    /// Repairs with a snapshot what lost events left wrong.
    ///
    /// # Errors
    ///
    /// When an iterator cannot run.
    pub(crate) fn reconcile(&mut self) -> Result<()> {
        let snapshot = self.snapshot()?;
        self.give_back(snapshot);
        Ok(())
    }

    /// The same where a snapshot is due for a report.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) fn reconcile_if_due(&mut self) -> Result<()> {
        if self.is_due() { self.reconcile() } else { Ok(()) }
    }

    /// The same where nobody waits for a report: as rarely as repairs allow.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) fn reconcile_if_needed(&mut self) -> Result<()> {
        let due = self.reconciled.is_none_or(|(last, _)| last.elapsed() >= RECONCILE);
        if due || self.is_unrepaired() { self.reconcile() } else { Ok(()) }
    }

    /// The same, for those who want the snapshot as well; [`Self::give_back`] takes it when it has served.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot> {
        let began = Instant::now();
        let lost = self.tracer.counters()?.dropped;
        let snapshot = take(&mut self.tracer, &self.clock)?;
        snapshot.sockets.iter().filter_map(|socket| socket.opened).for_each(|place| self.stacks.wanted(place));
        self.leaks.reconcile(&snapshot);
        let took = began.elapsed();
        tracing::debug!("snapshot of {} sockets took {} µs", snapshot.sockets.len(), took.as_micros());
        self.reconciled = Some((began, took));
        self.lost_at_reconcile = lost;
        Ok(snapshot)
    }

    /// Frees the last snapshot, and lets the system have the memory of a large one.
    pub(crate) fn give_back(&mut self, snapshot: Snapshot) {
        let sockets = snapshot.sockets.len();
        drop(snapshot);
        if sockets > MANY {
            memory::release();
        }
        // That, and what was done with it, is part of what it costs.
        if let Some((began, took)) = &mut self.reconciled {
            *took = began.elapsed();
        }
    }

    /// Whether a snapshot is due for a report: one that was slow by chance must not keep the next ones from being taken for long.
    pub(crate) fn is_due(&self) -> bool {
        let due = |(last, took): (Instant, Duration)| last.elapsed() >= RECONCILE.min(took * SNAPSHOT_PART);
        self.reconciled.is_none_or(due) || self.is_unrepaired()
    }

    /// Whether events have been lost since the last snapshot was begun.
    pub(crate) fn is_unrepaired(&self) -> bool {
        self.losses.events > self.lost_at_reconcile
    }
}

/// Takes a snapshot of leaking sockets, their holders, and what these may have.
fn take(tracer: &mut Tracer, clock: &Clock) -> Result<Snapshot> {
    let taken = clock.now();
    let mut finds = Finds::default();
    tracer.found(|found| finds.add(found))?;
    if finds.lacks_descriptors() {
        tracer.found_descriptors(|found| finds.add(found))?;
    }
    let standing = finds.finish()?;
    let complete = clock.now();
    let holders = standing.sockets.iter().flat_map(|socket| &socket.holders);
    let with_backlog = || standing.listeners.iter().filter(|listener| listener.backlog > 0);
    let owners = with_backlog().filter_map(|listener| listener.owner).map(|owner| owner.pid);
    let listening = with_backlog().flat_map(|listener| &listener.holders).copied().chain(owners);
    let waiting = standing.sockets.iter().filter_map(|socket| socket.awaited_by);
    let pids: BTreeSet<u32> = holders.map(|holder| holder.pid).chain(listening).chain(waiting).collect();
    Ok(Snapshot {
        taken,
        complete,
        sockets: standing.sockets,
        listeners: standing.listeners,
        processes: pids.into_iter().filter_map(|pid| found_process(pid, standing.starts.get(&pid).copied())).collect(),
        starts: standing.starts,
    })
}

/// A process that has gone meanwhile holds nothing any more, and another one may have its number.
fn found_process(pid: u32, began: Option<ProcessStart>) -> Option<FoundHolder> {
    let found = FoundHolder {
        pid,
        comm: descriptors::comm(pid)?,
        descriptors: descriptors::open(pid)?,
        descriptor_limit: descriptors::limit(pid),
    };
    // Asked last, it holds of what was read before.
    start::is_still(ProcessId { pid, start: began }).then_some(found)
}
