//! Checkpoints: how things stand, which events alone do not tell.

use std::{collections::BTreeMap, mem::take};

use anyhow::Result;
use tcpstate_core::model::{ProcessId, leak::Snapshot};
use tcpstate_recording::{Checkpoint, Content, SOCKETS_IN_A_FRAME};

use super::Recorder;
use crate::hunt::{Fetch, Hunt, Surveyed};

/// Groups whose processes' threads are looked for.
const GROUPS: usize = 100;

impl Recorder<'_> {
    /// Writes how things stand, as a report of `tcpstate leaks` would be made of it. Snapshots are as rare as there, unless one
    /// is wanted.
    pub(super) async fn checkpoint(&mut self, whole: bool) -> Result<()> {
        // Most names are made here, where events are taken meanwhile.
        self.hunt.name_stacks(&mut self.tape).await?;
        let snapshot = if whole || self.hunt.is_due() { Some(self.snapshot().await?) } else { None };
        let surveyed = self.hunt.survey(GROUPS, &mut NoEvents).await?;
        let Surveyed { survey, in_send, sleepers, activities, losses, unrepaired } = surveyed;
        self.tape.stacks(&self.hunt.leaks.places(), self.hunt.stacks.book()).await?;
        // The file has numbers alone; which processes have them, the snapshot tells.
        let activities = self.present(activities).collect();
        let sleepers = self.present(sleepers).filter(|(_, sleepers)| !sleepers.is_empty()).collect();
        self.tape.write(0, Content::Activities(activities)).await?;
        let checkpoint = Checkpoint { now: survey.now, snapshot, in_send: Some(in_send), sleepers, losses, unrepaired };
        self.tape.write(0, Content::Checkpoint(Box::new(checkpoint))).await
    }

    /// What is known of the processes that have their numbers now.
    fn present<T>(&self, known: BTreeMap<ProcessId, T>) -> impl Iterator<Item = (u32, T)> {
        let is_present = |(process, _): &(ProcessId, T)| self.hunt.leaks.present(process.pid).is(*process);
        known.into_iter().filter(is_present).map(|(process, known)| (process.pid, known))
    }

    /// Takes a snapshot and writes its sockets; returns the rest.
    async fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = self.hunt.snapshot()?;
        for sockets in snapshot.sockets.chunks(SOCKETS_IN_A_FRAME) {
            let traffic: Vec<_> = sockets.iter().map(|socket| socket.load.and_then(|load| load.traffic)).collect();
            self.tape.write(size_of_val(sockets), Content::Sockets(sockets.to_vec())).await?;
            self.tape.write(size_of_val(&*traffic), Content::Traffic(traffic)).await?;
        }
        let (listeners, processes) = (take(&mut snapshot.listeners), take(&mut snapshot.processes));
        let starts = take(&mut snapshot.starts);
        let Snapshot { taken, complete, .. } = snapshot;
        self.hunt.give_back(snapshot);
        Ok(Snapshot { taken, complete, sockets: Vec::new(), listeners, processes, starts })
    }
}

/// Stacks only: a reader takes the snapshot in where the checkpoint stands, and events of after the snapshot have to come after it.
struct NoEvents;

impl Fetch for NoEvents {
    async fn fetch(&mut self, hunt: &mut Hunt) -> Result<()> {
        hunt.fetch_stacks();
        Ok(())
    }
}
