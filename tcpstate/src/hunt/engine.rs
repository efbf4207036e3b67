//! What a hunt takes from the kernel, and where that goes: events to the aggregator, stacks to those of their place.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tcpstate_common::counters::Counters;
use tcpstate_core::{
    aggregate::leaks::Leaks,
    decode,
    model::leak::{LeakEvent, LeakLosses},
};

use super::{activity::CpuTimes, stacks::Stacks};
use crate::{kernel::Tracer, sandbox::Interpretable, session::Clock};

/// How often events and stacks are fetched: a stack has to be unwound while its process lives.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// How long a report waits for names. What has none by then is shown as an offset in its file, and has its name in the next one.
const NAMING: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 2 });
/// Events taken at a time.
pub(crate) const BATCH: usize = 8192;

/// A running tracer and what it has told so far.
pub(crate) struct Hunt {
    pub(crate) tracer: Tracer,
    pub(crate) leaks: Leaks,
    pub(crate) stacks: Stacks,
    pub(crate) losses: LeakLosses,
    pub(crate) clock: Clock,
    /// What threads had used of the CPUs at the last survey.
    pub(super) cpu_times: CpuTimes,
    /// When the last snapshot was taken, and how long it took.
    pub(super) reconciled: Option<(Instant, Duration)>,
    /// Events that had been lost then.
    pub(super) lost_at_reconcile: u64,
    /// How long a report waits for names.
    pub(super) patience: Duration,
}

impl Hunt {
    /// # Errors
    ///
    /// The system has no thread for the names of stacks.
    pub(super) fn new(tracer: Tracer, leaks: Leaks, clock: Clock) -> Result<Self> {
        let stacks = Stacks::start().context("failed to start the thread that has stacks unwound and named")?;
        Ok(Self {
            tracer,
            leaks,
            stacks,
            losses: LeakLosses::default(),
            clock,
            cpu_times: CpuTimes::default(),
            reconciled: None,
            lost_at_reconcile: 0,
            patience: NAMING,
        })
    }

    /// Has it found out how frames are found of programs that interpreters run in these processes, now and when one begins.
    pub(super) fn look_for_interpreters(&mut self, of: Interpretable) {
        self.stacks.look_for_interpreters(of);
    }

    /// Waits until a program has begun, or something is known of an interpreter: what a program does with sockets in its first moments has
    /// its functions only where [`Self::look`] comes at once. Cancellation-safe.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub(crate) async fn is_to_look(&self) -> Result<()> {
        tokio::select! {
            began = self.tracer.program_began() => began,
            () = self.stacks.recipe_came() => Ok(()),
        }
    }

    /// Has programs looked into that have begun, and tells the kernel side how frames are found of those that were.
    pub(crate) fn look(&mut self) {
        self.stacks.look(&mut self.tracer);
    }

    /// Takes the events and stacks that wait.
    ///
    /// # Errors
    ///
    /// When a record is none of ours, or the kernel refuses to read a map.
    pub(crate) fn fetch(&mut self) -> Result<()> {
        // Stacks first: they have to be unwound while their process lives.
        self.fetch_stacks();
        let Self { tracer, leaks, stacks, .. } = self;
        let mut result = Ok(());
        while tracer.drain(BATCH, |record| match decode::leak::event(record) {
            Ok(event) => push(leaks, stacks, &event),
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
        self.stacks.fetch(&mut self.tracer);
    }

    /// What was counted until now; what was lost of it is kept.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read a map.
    pub(crate) fn count(&mut self) -> Result<Counters> {
        let counters = self.tracer.counters()?;
        self.losses = LeakLosses::from(&counters);
        self.losses.stacks_dropped += self.stacks.dropped();
        Ok(counters)
    }
}

/// To the aggregator; the place that it names is wanted.
pub(crate) fn push(leaks: &mut Leaks, stacks: &mut Stacks, event: &LeakEvent) {
    if let LeakEvent::Entered { opened: Some(place), .. } = *event {
        stacks.wanted(place);
    }
    leaks.push(event);
}
