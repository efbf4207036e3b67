//! The start of a hunt.

use anyhow::Result;
use tcpstate_core::aggregate::leaks::{LeakOptions, Leaks};

use super::engine::Hunt;
use crate::{
    host::{Host, preflight},
    session::{
        followed::Followed,
        start::{self, Started, Tracing},
    },
    settings::hunt::HuntSettings,
};

/// Attaches, and has the aggregator know what these hooks let be seen. The first snapshot is left to the caller, who may have to begin
/// with something else.
///
/// # Errors
///
/// When this user may not trace, process ids are not the kernel's, a process is not there, the kernel lacks what nothing works
/// without, or the system has no more threads.
pub(crate) fn start(host: &Host, settings: &HuntSettings, debug: bool) -> Result<(Hunt, Followed)> {
    preflight::check_capabilities()?;
    host.check_pids()?;
    let Started { tracer, followed, clock } = start::start(&Tracing {
        config: settings.config(settings.buffer.watermark()),
        pids: settings.filter.pids(),
        children: settings.filter.children() && !settings.newborn,
        buffer: settings.buffer,
        debug,
    })?;
    let leaks = Leaks::new(LeakOptions::seen_by(&tracer.probes().hooks, settings.older_than));
    Ok((Hunt::new(tracer, leaks, clock, settings.stack_bytes)?, followed))
}
