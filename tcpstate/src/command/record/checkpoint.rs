//! Checkpoints: how things stand, which events alone do not tell.

use std::mem::take;

use anyhow::Result;
use tcpstate_core::model::leak::Snapshot;
use tcpstate_recording::{
    frame::Kind,
    record::{Checkpoint, SOCKETS_AT_A_TIME, SleepersRecord, Sockets, Taken},
};

use super::Recorder;
use crate::hunt::Surveyed;

/// Groups whose processes' threads are looked for.
const GROUPS: usize = 100;

impl Recorder<'_> {
    /// Writes how things stand, as a report of `tcpstate leaks` would be made of it. Snapshots are as rare as there, unless one
    /// is wanted.
    pub(super) async fn checkpoint(&mut self, whole: bool) -> Result<()> {
        let snapshot = if whole || self.hunt.is_due() { Some(self.snapshot().await?) } else { None };
        let Surveyed { in_send, sleepers, losses, unrepaired, .. } = self.hunt.survey(GROUPS, &mut self.tape).await?;
        let record = |(pid, found): (u32, Vec<_>)| (pid, found.iter().map(SleepersRecord::from).collect());
        self.tape.stacks(&self.hunt.leaks.places(), self.hunt.stacks.book()).await?;
        let checkpoint = Checkpoint {
            // After all events that came before it into the file.
            now: self.hunt.clock.now(),
            snapshot,
            in_send: Some(in_send),
            sleepers: sleepers.into_iter().map(record).collect(),
            losses,
            unrepaired,
        };
        self.tape.write(Kind::Checkpoint, 0, checkpoint).await
    }

    /// Takes a snapshot and writes its sockets.
    async fn snapshot(&mut self) -> Result<Taken> {
        let mut snapshot = self.hunt.snapshot()?;
        for sockets in snapshot.sockets.chunks(SOCKETS_AT_A_TIME) {
            self.tape.write(Kind::Sockets, size_of_val(sockets), Sockets { sockets: sockets.to_vec() }).await?;
        }
        let (listeners, processes) = (take(&mut snapshot.listeners), take(&mut snapshot.processes));
        let Snapshot { taken, complete, .. } = snapshot;
        self.hunt.give_back(snapshot);
        Ok(Taken { taken, complete, listeners, processes })
    }
}
