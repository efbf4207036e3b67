//! What commands that watch have in common: what ends them, whom they follow, where their output goes.

pub(crate) mod ending;
pub(crate) mod followed;
pub(crate) mod output;
pub(crate) mod pages;
pub(crate) mod start;
pub(crate) mod stdout;

use std::{io, time::Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use tcpstate_core::model::{MonotonicNs, probes::Probes};

use crate::{report::clock::WallClock, settings::buffer::Buffer};

/// The moment of the start on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// On the kernel's clock.
    pub(crate) start: MonotonicNs,
    /// On ours.
    pub(crate) began: Instant,
    /// From the kernel's to the wall's.
    pub(crate) wall: WallClock,
}

impl Clock {
    pub(crate) fn start() -> Result<Self> {
        let nanoseconds = |clock| {
            let now = clock_gettime(clock);
            now.tv_sec * 1_000_000_000 + now.tv_nsec
        };
        let monotonic = nanoseconds(ClockId::Monotonic);
        let offset_ns = nanoseconds(ClockId::Realtime) - monotonic;
        let start = MonotonicNs(u64::try_from(monotonic).context("the monotonic clock is before its start")?);
        Ok(Self { start, began: Instant::now(), wall: WallClock { offset_ns } })
    }

    pub(crate) fn now(&self) -> MonotonicNs {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        MonotonicNs(self.start.0.saturating_add(elapsed))
    }
}

/// Says so when the ring buffer is not as large as was asked for.
pub(crate) fn warn_of_rounding(buffer: Buffer) {
    if let Some(asked) = buffer.rounded_from {
        tracing::warn!(
            "buffer of {asked} bytes rounded up to {}: the kernel takes powers of two of at least one page",
            buffer.bytes
        );
    }
}

/// Says which hooks are in use, why others are not, and what is not to be had for want of one.
pub(crate) fn log_probes(probes: &Probes) {
    let hooks = &probes.hooks;
    tracing::info!("kernel {}", hooks.kernel);
    for attempt in hooks.roles.iter().flat_map(|probe| &probe.attempts) {
        match &attempt.refused {
            None => tracing::info!("{} in use", attempt.hook),
            Some(refusal) => tracing::info!("{} not in use: {}", attempt.hook, refusal.reason),
        }
    }
    let mut said = "";
    for probe in hooks.roles.iter().filter(|probe| probe.chosen().is_none()) {
        let lost = probe.role.lost();
        // The last hook is the one that the most kernels allow.
        let last = probe.attempts.last().and_then(|attempt| Some((&attempt.hook, &attempt.refused.as_ref()?.reason)));
        match last {
            _ if lost == said => {}
            Some((hook, reason)) => tracing::warn!("{lost}: `{hook}`: {reason} (`tcpstate probes` tries all hooks)"),
            None => tracing::warn!("{lost}"),
        }
        said = lost;
    }
    tracing::info!(
        "{} sockets of before the start in {} network namespaces",
        probes.snapshot_sockets,
        probes.snapshot_netns
    );
}

/// Whether somebody closed the other end of our output.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
