//! What commands that look for leaks take from the kernel: events, stacks, snapshots, losses.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tcpstate_common::counters::Counters;
use tcpstate_core::{
    aggregate::leaks::Leaks,
    decode,
    model::leak::{LeakLosses, Snapshot},
};

use super::{RECONCILE, snapshot::look, stacks::Stacks};
use crate::{host::memory, kernel::Tracer, session::Clock};

/// Snapshots take at most this part of the time, else they are taken for every report: they also say who holds the sockets and
/// what is in their queues.
const SNAPSHOT_PART: u32 = 50;
/// A snapshot of more sockets leaves memory behind that is worth giving back.
const MANY: usize = 10_000;
/// Events taken at a time.
pub(crate) const BATCH: usize = 8192;

/// A running tracer and what it has told so far.
pub(crate) struct Intake {
    pub(crate) tracer: Tracer,
    pub(crate) leaks: Leaks,
    pub(crate) stacks: Stacks,
    pub(crate) losses: LeakLosses,
    pub(crate) clock: Clock,
    /// When the last snapshot was taken, and how long it took.
    pub(crate) reconciled: Option<(Instant, Duration)>,
    /// Events that had been lost then.
    lost_at_reconcile: u64,
    /// Bytes of each user stack that are copied at most.
    stack_bytes: usize,
}

impl Intake {
    /// # Errors
    ///
    /// The system has no thread for the names of stacks.
    pub(crate) fn new(tracer: Tracer, leaks: Leaks, clock: Clock, stack_bytes: u32) -> Result<Self> {
        let stacks = Stacks::start().context("failed to start the thread that names stacks")?;
        Ok(Self {
            tracer,
            leaks,
            stacks,
            losses: LeakLosses::default(),
            clock,
            reconciled: None,
            lost_at_reconcile: 0,
            stack_bytes: stack_bytes as usize,
        })
    }

    /// Takes the events and stacks that wait.
    pub(crate) fn fetch(&mut self) -> Result<()> {
        // Stacks first: they have to be unwound while their process lives.
        self.fetch_stacks();
        let Self { tracer, leaks, .. } = self;
        let mut result = Ok(());
        while tracer.drain(BATCH, |record| match decode::leak::event(record) {
            Ok(event) => leaks.push(&event),
            Err(error) => result = Err(error),
        }) == BATCH
        {}
        result?;
        // Those of the events that came meanwhile.
        self.fetch_stacks();
        self.count()?;
        Ok(())
    }

    /// Takes the stacks that wait.
    pub(crate) fn fetch_stacks(&mut self) {
        self.stacks.fetch(&mut self.tracer, self.stack_bytes);
    }

    /// What was counted until now; what was lost of it is kept.
    pub(crate) fn count(&mut self) -> Result<Counters> {
        let counters = self.tracer.counters()?;
        self.losses = LeakLosses::from(&counters);
        Ok(counters)
    }

    /// Repairs with a snapshot what lost events left wrong.
    pub(crate) fn reconcile(&mut self) -> Result<()> {
        let snapshot = self.snapshot()?;
        self.give_back(snapshot);
        Ok(())
    }

    /// The same, for those who want the snapshot as well; [`Self::give_back`] takes it when it has served.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot> {
        let began = Instant::now();
        let lost = self.tracer.counters()?.dropped;
        let snapshot = look(&mut self.tracer, &self.clock)?;
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
