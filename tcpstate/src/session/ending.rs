//! What ends a trace.

use std::{pin::Pin, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Sleep, sleep_until},
};

use super::followed::Followed;
use crate::kernel::Tracer;

/// After the last followed process has gone, its last segments are still being answered.
const GRACE: Duration = Duration::from_millis(100);
/// Far enough to never come.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The user asked for it.
    Signal,
    /// `--duration` is over, or no followed process is left.
    Time,
    /// `--count` is reached.
    Counted,
}

/// Waits for the first reason to end.
pub(crate) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    deadline: Pin<Box<Sleep>>,
    followed: Followed,
    leaving: bool,
}

impl Endings {
    pub(crate) fn new(duration: Option<Duration>, followed: Followed) -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let deadline = Instant::now() + duration.unwrap_or(NEVER).min(NEVER);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            deadline: Box::pin(sleep_until(deadline)),
            followed,
            leaving: false,
        })
    }

    /// The next reason; cancellation-safe.
    pub(crate) async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Signal,
            _ = self.terminate.recv() => End::Signal,
            _ = self.hangup.recv() => End::Signal,
            () = &mut self.deadline => End::Time,
        }
    }

    /// The next signal; cancellation-safe.
    pub(crate) async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Brings the end near once no followed process is left.
    pub(crate) fn check_processes(&mut self, tracer: &Tracer) -> Result<()> {
        if !self.leaving && self.followed.all_gone()? && tracer.live_children()? == 0 {
            self.leaving = true;
            let grace = Instant::now() + GRACE;
            if grace < self.deadline.deadline() {
                self.deadline.as_mut().reset(grace);
            }
        }
        Ok(())
    }
}
