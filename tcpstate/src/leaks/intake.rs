//! What commands that look for leaks take from the kernel: events, stacks, snapshots, losses.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{look::look, stacks::Stacks};
use crate::{
    aggregate::leaks::{Leaks, Options},
    decode,
    kernel::Tracer,
    memory,
    model::{
        leak::LeakLosses,
        probes::{Hooks, Role},
    },
    session::Clock,
};

/// A snapshot of more sockets leaves memory behind that is worth giving back.
const MANY: usize = 10_000;
/// Events taken at a time.
const BATCH: usize = 8192;

/// What the hunt can see with these hooks.
pub(crate) fn options(hooks: &Hooks, older_than: Duration) -> Options {
    Options {
        older_than,
        accept_hook: hooks.chosen(Role::Accept).is_some(),
        receive_hook: hooks.chosen(Role::EofReads).is_some(),
    }
}

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
    pub(crate) fn new(tracer: Tracer, leaks: Leaks, clock: Clock, stack_bytes: u32) -> Self {
        Self {
            tracer,
            leaks,
            stacks: Stacks::default(),
            losses: LeakLosses::default(),
            clock,
            reconciled: None,
            lost_at_reconcile: 0,
            stack_bytes: stack_bytes as usize,
        }
    }

    /// Takes the events and stacks that wait.
    pub(crate) fn fetch(&mut self) -> Result<()> {
        let Self { tracer, leaks, stacks, stack_bytes, .. } = self;
        let mut code = Vec::new();
        // Stacks first: they have to be unwound while their process lives.
        tracer.stacks(|header, kernel, bytes| {
            let ranges = stacks.take(header, kernel, bytes, *stack_bytes);
            code.extend(ranges.map(|ranges| (header.tgid, ranges)));
        });
        let mut result = Ok(());
        while tracer.drain(BATCH, |record| match decode::leak::event(record) {
            Ok(event) => leaks.push(&event),
            Err(error) => result = Err(error),
        }) == BATCH
        {}
        result?;
        for (pid, ranges) in code {
            if let Err(error) = tracer.enter_code(pid, &ranges) {
                // More stacks than needed are copied of it, no more.
                tracing::debug!("{error:#}");
            }
        }
        let counters = tracer.counters()?;
        self.losses = LeakLosses {
            events: counters.dropped,
            map_full: counters.map_full,
            stacks_skipped: counters.stacks_skipped,
            stacks_dropped: counters.stacks_dropped,
        };
        Ok(())
    }

    /// Repairs with a snapshot what lost events left wrong.
    pub(crate) fn reconcile(&mut self) -> Result<()> {
        let began = Instant::now();
        let lost = self.tracer.counters()?.dropped;
        let snapshot = look(&mut self.tracer, &self.clock)?;
        self.leaks.reconcile(&snapshot);
        let (sockets, took) = (snapshot.sockets.len(), began.elapsed().as_micros());
        drop(snapshot);
        if sockets > MANY {
            memory::release();
        }
        tracing::debug!("snapshot of {sockets} sockets took {took} µs");
        self.reconciled = Some((began, began.elapsed()));
        self.lost_at_reconcile = lost;
        Ok(())
    }

    /// Whether events have been lost since the last snapshot was begun.
    pub(crate) fn is_unrepaired(&self) -> bool {
        self.losses.events > self.lost_at_reconcile
    }
}
