//! How things stand at a moment: the stacks are named, the aggregator surveys, and threads that explain its groups are looked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tcpstate_common::leak::MAX_TARGETS;
use tcpstate_core::{
    aggregate::leaks::{Observed, Survey},
    model::{
        ProcessId,
        activity::Activity,
        leak::{LeakLosses, PlaceId},
        stack::Sleepers,
    },
};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::{interval, sleep},
};

use super::{
    activity,
    engine::{Hunt, TICK},
    sleepers,
};
use crate::{
    host::memory,
    report::leaks::{LeakReport, Outlook, Surroundings, processes_asleep},
};

/// A survey of more groups leaves memory behind that is worth giving back: some milliseconds for tens of megabytes.
const MANY: usize = 200;
/// So often new stacks may come while others get their names, before a survey waits for the last ones without taking events.
const NAMING_ROUNDS: u32 = 8;

/// How long a last report waits for names that somebody waits for.
const LAST_NAMING: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });
/// How often it is asked whether copies have been unwound.
const POLL: Duration = Duration::from_millis(1);

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
    pub(crate) sleepers: BTreeMap<ProcessId, Vec<Sleepers>>,
    /// What the threads of leaking processes do while they do not sleep.
    pub(crate) activities: BTreeMap<ProcessId, Activity>,
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
        let Self { tracer, leaks, stacks, clock, cpu_times, .. } = self;
        let book = stacks.book();
        let fold = |place| book.fold(place);
        let now = clock.now();
        let mut pids: Vec<u32> = leaks.processes().into_iter().collect();
        // Each portion goes through all threads of the machine.
        pids.truncate(MAX_TARGETS as usize);
        let threads = if pids.is_empty() { Vec::new() } else { tracer.threads(&pids)? };
        let mut activities = cpu_times.activities(&threads, now);
        let busy = activity::busy(&activities, leaks.descriptors());
        let in_send = sleepers::in_send(&threads, leaks.descriptors());
        let survey = leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let (losses, unrepaired) = (self.losses, self.is_unrepaired());
        if !busy.is_empty() {
            let wakers = self.stacks.wakers(busy, began + self.patience);
            activity::explain(&mut activities, self.fetch_until(wakers, fetch).await?);
        }
        let wanted = processes_asleep(&survey, groups);
        let (asleep, unnamed) = sleepers::of_processes(&wanted, &threads);
        let named = if unnamed.is_empty() {
            Vec::new()
        } else {
            let named = self.stacks.sleepers(unnamed, began + self.patience);
            self.fetch_until(named, fetch).await?
        };
        let sleepers = sleepers::folded(&wanted, &asleep, named);
        if survey.groups.len() > MANY {
            memory::release();
        }
        tracing::debug!("survey of {} groups took {} µs", survey.groups.len(), began.elapsed().as_micros());
        Ok(Surveyed { survey, in_send, sleepers, activities, losses, unrepaired })
    }

    /// Names the stacks of all sockets that there are when it returns, as far as time and room allow.
    ///
    /// # Errors
    ///
    /// When what is taken meanwhile cannot be passed on.
    pub(crate) async fn name_stacks(&mut self, fetch: &mut impl Fetch) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        // First: what is gone makes room.
        self.stacks.forget_others(&self.leaks.places());
        for _ in 0..NAMING_ROUNDS {
            // Those of what only the snapshot has told of.
            self.fetch_stacks();
            while !self.stacks.is_idle() && Instant::now() < deadline {
                sleep(POLL).await;
                fetch.fetch(self).await?;
            }
            let wanted = self.wanted_places();
            let Some((places, named)) = self.stacks.begin_to_name(&wanted, deadline) else { break };
            let named = self.fetch_until(named, fetch).await?;
            if !self.stacks.insert(places, named) {
                break;
            }
        }
        Ok(())
    }

    /// Says that somebody waits for the end: the last report has the names that are known, or soon found.
    pub(crate) fn hurry(&mut self) {
        self.patience = LAST_NAMING;
        self.stacks.hurry();
    }

    /// The places that get names, but for those that turned out to have no room.
    fn wanted_places(&self) -> BTreeSet<PlaceId> {
        let mut places = self.leaks.places();
        places.retain(|&place| !self.stacks.book().has_refused(place));
        places
    }

    /// Names the stacks of these places, as far as time allows, and waits for that.
    pub(crate) fn name_now(&mut self, places: &BTreeSet<PlaceId>) {
        let deadline = Instant::now() + self.patience;
        // First, as above: what is gone makes room, and what finds none all the same is counted.
        self.stacks.forget_others(places);
        self.fetch_stacks();
        while !self.stacks.is_idle() && Instant::now() < deadline {
            thread::sleep(POLL);
            self.fetch_stacks();
        }
        if let Some((places, mut named)) = self.stacks.begin_to_name(places, deadline) {
            let named = loop {
                match named.try_recv() {
                    Ok(named) => break named,
                    Err(TryRecvError::Empty) => thread::sleep(POLL / 10),
                    Err(TryRecvError::Closed) => self.stacks.failed(),
                }
            };
            self.stacks.insert(places, named);
        }
    }

    /// Takes events and stacks until the answer has come.
    async fn fetch_until<T>(&mut self, mut answer: oneshot::Receiver<T>, fetch: &mut impl Fetch) -> Result<T> {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer.unwrap_or_else(|_| self.stacks.failed())),
                filled = self.tracer.filled() => filled?,
                _ = tick.tick() => {}
                look = self.is_to_look() => {
                    look?;
                    self.look();
                    continue;
                }
            }
            fetch.fetch(self).await?;
        }
    }
}

impl Surveyed {
    /// The report of this moment, of so many groups.
    pub(crate) fn into_report(self, hunt: &Hunt, top: usize, outlook: Outlook) -> LeakReport {
        let Self { survey, in_send: _, sleepers, activities, losses, unrepaired } = self;
        let unseen = hunt.tracer.probes().hooks.lost();
        let surroundings = Surroundings { sleepers, activities, losses, unseen, unrepaired, top, outlook };
        LeakReport::new(survey, hunt.stacks.book(), surroundings)
    }
}
