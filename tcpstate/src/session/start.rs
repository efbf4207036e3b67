//! How every command that traces starts: attached, followed, on one clock.

use anyhow::Result;
use tcpstate_common::config::Config;

use super::{Clock, followed::Followed, log_probes, warn_of_rounding};
use crate::{
    host::limits,
    kernel::{Tracer, TracerOptions},
    settings::buffer::Buffer,
};

/// What to trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracing<'a> {
    /// Filters and settings of the BPF side.
    pub(crate) config: Config,
    /// Processes to follow, where the filters say so.
    pub(crate) pids: &'a [u32],
    /// Whether what they had forked before is followed, too.
    pub(crate) children: bool,
    /// The ring buffer of events.
    pub(crate) buffer: Buffer,
    /// Whether the BPF side logs.
    pub(crate) debug: bool,
}

/// A tracer that runs.
pub(crate) struct Started {
    pub(crate) tracer: Tracer,
    pub(crate) followed: Followed,
    pub(crate) clock: Clock,
}

/// Attaches, and says what could not be had. Records flow when it returns.
///
/// # Errors
///
/// When a process is not there, or the kernel lacks what nothing works without.
pub(crate) fn start(tracing: &Tracing<'_>) -> Result<Started> {
    limits::raise_nofile();
    warn_of_rounding(tracing.buffer);
    let mut followed = Followed::new(tracing.pids, tracing.children)?;
    let tracer = Tracer::start(&TracerOptions {
        config: tracing.config,
        pids: followed.pids().to_vec(),
        children: tracing.children,
        buffer_bytes: tracing.buffer.bytes,
        debug: tracing.debug,
    })?;
    followed.catch_up()?;
    log_probes(tracer.probes());
    Ok(Started { tracer, followed, clock: Clock::start()? })
}
