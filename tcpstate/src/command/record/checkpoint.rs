//! How things stand: what events alone do not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    sync::Arc,
};

use anyhow::Result;
use tcpstate_core::{
    aggregate::leaks::Observed,
    model::leak::{PlaceId, Snapshot},
};
use tcpstate_recording::{
    frame::Kind,
    record::{self, Look, SOCKETS_AT_A_TIME, SleepersRecord, Sockets, Taken},
};

use super::{ASLEEP, Recorder};
use crate::{
    hunt::{intake::Intake, sleepers},
    report::leaks::processes_asleep,
};

/// Bytes that a stack with names takes, about.
const STACK_BYTES: usize = 4 << 10;

impl Recorder<'_> {
    /// Writes how things stand, as a report of `tcpstate leaks` would be made of it. Snapshots are as rare as there, unless one
    /// is wanted.
    pub(super) async fn look(&mut self, whole: bool) -> Result<()> {
        let snapshot = if whole || self.intake.is_due() { Some(self.snapshot().await?) } else { None };
        let Intake { tracer, leaks, stacks, clock, .. } = &mut self.intake;
        stacks.name(&leaks.places());
        let book = stacks.book();
        let fold = |place| book.fold(place);
        let now = clock.now();
        let survey = leaks.survey(&Observed { now, asleep_in_send: None, fold: &fold });
        let pids: Vec<u32> = survey.processes.iter().map(|row| row.process.pid).collect();
        let threads = if pids.is_empty() { Vec::new() } else { tracer.threads(&pids)? };
        let in_send: BTreeMap<u32, u32> = sleepers::in_send(&threads, leaks.descriptors());
        let survey = leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let wanted = processes_asleep(&survey, ASLEEP);
        let (asleep, unnamed) = sleepers::of_processes(&wanted, &threads, stacks);
        let named = stacks.name_threads(unnamed);
        let folded = sleepers::folded(&wanted, &asleep, named).into_iter();
        let sleepers = folded.map(|(pid, found)| (pid, found.iter().map(SleepersRecord::from).collect())).collect();
        self.write_stacks().await?;
        let look = Look {
            now,
            snapshot,
            in_send: Some(in_send),
            sleepers,
            losses: self.intake.losses,
            unrepaired: self.intake.is_unrepaired(),
        };
        self.write(Kind::Look, 0, look).await
    }

    /// Takes a snapshot and writes its sockets.
    async fn snapshot(&mut self) -> Result<Taken> {
        let mut snapshot = self.intake.snapshot()?;
        for sockets in snapshot.sockets.chunks(SOCKETS_AT_A_TIME) {
            self.write(Kind::Sockets, size_of_val(sockets), Sockets { sockets: sockets.to_vec() }).await?;
        }
        let (listeners, processes) = (take(&mut snapshot.listeners), take(&mut snapshot.processes));
        let Snapshot { taken, complete, .. } = snapshot;
        self.intake.give_back(snapshot);
        Ok(Taken { taken, complete, listeners, processes })
    }

    /// Writes the stacks that the file does not have, or has otherwise.
    async fn write_stacks(&mut self) -> Result<()> {
        let places: BTreeSet<PlaceId> = self.intake.leaks.places();
        let mut news = record::Stacks::default();
        for place in &places {
            let Some(stack) = self.intake.stacks.book().get(*place) else { continue };
            if self.written.get(place).is_none_or(|written| written != stack) {
                news.stacks.push((*place, stack.as_ref().into()));
                self.written.insert(*place, Arc::clone(stack));
            }
        }
        // A frame has a function, a file and a module; this is about what these take.
        let bytes = news.stacks.len() * STACK_BYTES;
        if news.stacks.is_empty() { Ok(()) } else { self.write(Kind::Stacks, bytes, news).await }
    }
}
