//! Sockets kept beyond their end: those that nothing but the exit of a process closed, and those that were closed too late.

use std::{collections::HashMap, time::Duration};

use super::{fate::Fate, socket::Socket};
use crate::{
    aggregate::verdict::Verdict,
    model::{Comm, MonotonicNs, ProcessId, leak::PlaceId},
};

/// Sockets kept; about 20 MiB of them.
const MOST: usize = 1 << 16;

/// Where sockets are kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) max_dwell: Option<Duration>,
    pub(super) sockets: Vec<Ended>,
    pub(super) not_kept: u64,
    /// Where sockets that are still there, or whose end is not told yet, are being closed or have been shut down.
    pub(super) closers: HashMap<u64, (MonotonicNs, PlaceId)>,
    /// Closed sockets of which it has to be found out whether that was at the exit; the place says where.
    pub(super) unsettled: Vec<(PlaceId, Ended)>,
}

/// A socket as it was at its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) socket: Socket,
    pub(super) at: MonotonicNs,
    pub(super) fate: Fate,
    pub(super) verdict: Verdict,
    pub(super) process: Option<ProcessId>,
    pub(super) opener: Option<ProcessId>,
    pub(super) comm: Option<Comm>,
}

impl Kept {
    pub(super) fn keep(&mut self, ended: Ended) {
        if self.sockets.len() < MOST {
            self.sockets.push(ended);
        } else {
            self.not_kept += 1;
        }
    }
}
