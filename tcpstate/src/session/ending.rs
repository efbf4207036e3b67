//! What ends a trace.

use std::{future::pending, pin::Pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Sleep, sleep_until},
};

use super::{followed::Followed, output::Progress};

use crate::{host::processes::ignores, kernel::Tracer};

/// After the last followed process has gone, its last segments are still being answered.
const GRACE: Duration = Duration::from_millis(100);
/// How long the reader of the output may rest once a signal has asked for the end: less than supervisors wait before they kill.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far enough to never come.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchEnd {
    /// The user asked for it.
    Signal,
    /// `--duration` is over, or no followed process is left.
    Time,
    /// `--count` is reached, or one report was all.
    Counted,
}

/// Waits for the first reason to end.
pub(crate) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started us has it ignored, as `nohup` does.
    hangup: Option<Signal>,
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
            hangup: if ignores(SignalKind::hangup().as_raw_value()) {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
            deadline: Box::pin(sleep_until(deadline)),
            followed,
            leaving: false,
        })
    }

    /// The next reason; cancellation-safe.
    pub(crate) async fn next(&mut self) -> WatchEnd {
        tokio::select! {
            _ = self.interrupt.recv() => WatchEnd::Signal,
            _ = self.terminate.recv() => WatchEnd::Signal,
            () = next(self.hangup.as_mut()) => WatchEnd::Signal,
            () = &mut self.deadline => WatchEnd::Time,
        }
    }

    /// Writes the rest after the end has come, as fast as the output's reader reads, but not against the user's will: after a signal
    /// only for as long as it does read, and until the next signal.
    pub(crate) async fn finish(
        &mut self,
        end: WatchEnd,
        progress: &Progress,
        rest: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let given_up = async {
            if end != WatchEnd::Signal {
                self.signal().await;
            }
            tokio::select! {
                () = self.signal() => {}
                () = progress.stalls(PATIENCE) => {}
            }
        };
        tokio::select! {
            biased;
            finished = rest => finished,
            () = given_up => {
                bail!("interrupted while the reader of standard output was not reading: the end of the output is missing")
            }
        }
    }

    /// The next signal; cancellation-safe.
    async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = next(self.hangup.as_mut()) => {}
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

/// The next signal, if it is listened to; cancellation-safe.
async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
