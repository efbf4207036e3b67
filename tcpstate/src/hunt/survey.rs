//! How things stand at a moment: the stacks are named, the aggregator surveys, and threads that explain its groups are looked for.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use tcpstate_core::{
    aggregate::leaks::{Observed, Survey},
    model::{
        leak::LeakLosses,
        stack::{Sleepers, Stack},
    },
};
use tokio::time::interval;

use super::{
    engine::{Hunt, TICK},
    sleepers,
    stacks::Named,
};
use crate::report::leaks::{LeakReport, Surroundings, processes_asleep};

/// So often new stacks may come while others get their names, before a survey waits for the last ones without taking events.
const NAMING_ROUNDS: u32 = 8;

/// Takes what waits in the ring buffers, while names are made as at any time.
pub(crate) trait Fetch {
    /// Takes it, for whoever has to know; stacks at least, whose processes may end.
    ///
    /// # Errors
    ///
    /// When it cannot be taken, or not be passed on.
    async fn fetch(&mut self, hunt: &mut Hunt) -> Result<()>;
}

/// What a hunt says of a moment: all that a report or a checkpoint is made of, but for the stacks of places.
#[derive(Debug)]
pub(crate) struct Surveyed {
    /// The sockets.
    pub(crate) survey: Survey,
    /// Threads asleep in a send, by process.
    pub(crate) in_send: BTreeMap<u32, u32>,
    /// Where the threads sleep that explain the first groups.
    pub(crate) sleepers: BTreeMap<u32, Vec<Sleepers>>,
    /// What could not be kept or taken, from the start on.
    pub(crate) losses: LeakLosses,
    /// Whether events have been lost since the last snapshot was begun.
    pub(crate) unrepaired: bool,
}

impl Hunt {
    /// Says how things stand, with the threads that explain so many groups. `fetch` takes what comes while stacks get their names.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell, or what it tells cannot be passed on.
    pub(crate) async fn survey(&mut self, groups: usize, fetch: &mut impl Fetch) -> Result<Surveyed> {
        let began = Instant::now();
        self.name_stacks(fetch).await?;
        let Self { tracer, leaks, stacks, clock, .. } = self;
        let book = stacks.book();
        let fold = |place| book.fold(place);
        let now = clock.now();
        let pids: Vec<u32> = leaks.processes().into_iter().collect();
        let threads = if pids.is_empty() { Vec::new() } else { tracer.threads(&pids)? };
        let in_send = sleepers::in_send(&threads, leaks.descriptors());
        let survey = leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let (losses, unrepaired) = (self.losses, self.is_unrepaired());
        let wanted = processes_asleep(&survey, groups);
        let (asleep, unnamed) = sleepers::of_processes(&wanted, &threads, &mut self.stacks);
        let named = if unnamed.is_empty() {
            Vec::new()
        } else {
            let named = self.stacks.begin_to_name_threads(unnamed);
            self.fetch_until(named, fetch).await?
        };
        let sleepers = sleepers::folded(&wanted, &asleep, named).into_iter().collect();
        tracing::debug!("survey of {} groups took {} µs", survey.groups.len(), began.elapsed().as_micros());
        Ok(Surveyed { survey, in_send, sleepers, losses, unrepaired })
    }

    /// Names the stacks of all sockets that there are when it returns.
    ///
    /// # Errors
    ///
    /// When what is taken meanwhile cannot be passed on.
    pub(crate) async fn name_stacks(&mut self, fetch: &mut impl Fetch) -> Result<()> {
        for _ in 0..NAMING_ROUNDS {
            // Those of what only the snapshot has told of.
            self.fetch_stacks();
            let Self { leaks, stacks, .. } = &mut *self;
            let all = leaks.places();
            let Some((places, named)) = stacks.begin_to_name(&all) else {
                stacks.forget_others(&all);
                return Ok(());
            };
            let named = self.fetch_until(named, fetch).await?;
            self.stacks.insert(places, named);
        }
        self.stacks.name(&self.leaks.places());
        Ok(())
    }

    /// Takes events and stacks until the names have come.
    async fn fetch_until(&mut self, mut named: Named, fetch: &mut impl Fetch) -> Result<Vec<Stack>> {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                biased;
                named = &mut named => return Ok(named.unwrap_or_else(|_| self.stacks.failed())),
                filled = self.tracer.filled() => filled?,
                _ = tick.tick() => {}
            }
            fetch.fetch(self).await?;
        }
    }
}

impl Surveyed {
    /// The report of this moment, of so many groups.
    pub(crate) fn into_report(self, hunt: &Hunt, top: usize) -> LeakReport {
        let Self { survey, in_send: _, sleepers, losses, unrepaired } = self;
        let unseen = hunt.tracer.probes().hooks.lost();
        let surroundings = Surroundings { sleepers, losses, unseen, unrepaired, top };
        LeakReport::new(survey, hunt.stacks.book(), surroundings)
    }
}
