//! Checkpoints: how things stand, which events alone do not tell.

use std::mem::take;

use anyhow::Result;
use tcpstate_core::model::leak::Snapshot;
use tcpstate_recording::{Checkpoint, Content, SOCKETS_IN_A_FRAME};

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
        self.tape.stacks(&self.hunt.leaks.places(), self.hunt.stacks.book()).await?;
        let checkpoint = Checkpoint {
            // After all events that came before it into the file.
            now: self.hunt.clock.now(),
            snapshot,
            in_send: Some(in_send),
            sleepers,
            losses,
            unrepaired,
        };
        self.tape.write(0, Content::Checkpoint(Box::new(checkpoint))).await
    }

    /// Takes a snapshot and writes its sockets; returns the rest.
    async fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = self.hunt.snapshot()?;
        for sockets in snapshot.sockets.chunks(SOCKETS_IN_A_FRAME) {
            self.tape.write(size_of_val(sockets), Content::Sockets(sockets.to_vec())).await?;
        }
        let (listeners, processes) = (take(&mut snapshot.listeners), take(&mut snapshot.processes));
        let Snapshot { taken, complete, .. } = snapshot;
        self.hunt.give_back(snapshot);
        Ok(Snapshot { taken, complete, sockets: Vec::new(), listeners, processes })
    }
}
