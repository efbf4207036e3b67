//! How things stand: what events alone do not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use anyhow::Result;

use super::{ASLEEP, Recorder};
use crate::{
    aggregate::leaks::Observed,
    leaks::{RECONCILE, SNAPSHOT_PART, look::look, sleepers},
    model::leak::{PlaceId, Snapshot},
    recording::{
        frame::Kind,
        record::{self, Look, SOCKETS_AT_A_TIME, SleepersRecord, Sockets, Taken},
    },
    report::leaks::processes_asleep,
};

impl Recorder<'_> {
    /// Writes how things stand, as a report of `tcpstate leaks` would be made of it. Snapshots are as rare as there, unless one
    /// is wanted.
    pub(super) fn look(&mut self, whole: bool) -> Result<()> {
        let due = self
            .reconciled
            .is_none_or(|(last, took)| took * SNAPSHOT_PART < self.settings.interval || last.elapsed() >= RECONCILE);
        let snapshot =
            if whole || due || self.losses.events > self.lost_at_reconcile { Some(self.snapshot()?) } else { None };
        self.stacks.name(&self.leaks.places());
        let book = self.stacks.book();
        let fold = |place| book.fold(place);
        let now = self.clock.now();
        let survey = self.leaks.survey(&Observed { now, asleep_in_send: None, fold: &fold });
        let pids: Vec<u32> = survey.processes.iter().map(|row| row.process.pid).collect();
        let threads = if pids.is_empty() { Vec::new() } else { self.tracer.threads(&pids)? };
        let in_send: BTreeMap<u32, u32> = sleepers::in_send(&threads);
        let survey = self.leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let asleep = processes_asleep(&survey, ASLEEP).into_iter().map(|pid| {
            let sleepers = sleepers::of_process(pid, &threads, &mut self.stacks);
            (pid, sleepers.iter().map(SleepersRecord::from).collect())
        });
        let sleepers = asleep.collect();
        self.write_stacks()?;
        let look = Look {
            now,
            snapshot,
            in_send: Some(in_send),
            sleepers,
            losses: self.losses,
            unrepaired: self.losses.events > self.lost_at_reconcile,
        };
        self.write(Kind::Look, &look)
    }

    /// Takes a snapshot and writes its sockets.
    fn snapshot(&mut self) -> Result<Taken> {
        let began = Instant::now();
        let lost = self.tracer.counters()?.dropped;
        let snapshot = look(&mut self.tracer, &self.clock)?;
        self.leaks.reconcile(&snapshot);
        self.reconciled = Some((began, began.elapsed()));
        self.lost_at_reconcile = lost;
        let Snapshot { taken, complete, sockets, listeners, processes } = snapshot;
        for sockets in sockets.chunks(SOCKETS_AT_A_TIME) {
            self.write(Kind::Sockets, &Sockets { sockets: sockets.to_vec() })?;
        }
        Ok(Taken { taken, complete, listeners, processes })
    }

    /// Writes the stacks that the file does not have, or has otherwise.
    fn write_stacks(&mut self) -> Result<()> {
        let places: BTreeSet<PlaceId> = self.leaks.places();
        let mut news = record::Stacks::default();
        for place in &places {
            let Some(stack) = self.stacks.book().get(*place) else { continue };
            if self.written.get(place).is_none_or(|written| written != stack) {
                news.stacks.push((*place, stack.as_ref().into()));
                self.written.insert(*place, Arc::clone(stack));
            }
        }
        if news.stacks.is_empty() { Ok(()) } else { self.write(Kind::Stacks, &news) }
    }
}
