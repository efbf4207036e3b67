//! The start of a hunt.

use std::time::Duration;

use anyhow::Result;
use tcpstate_core::aggregate::leaks::{LeakOptions, Leaks};

use super::Hunt;
use crate::{
    host::{Host, preflight},
    session::{
        followed::Followed,
        start::{self, Started, Tracing},
    },
};

/// Attaches, and has the aggregator know what these hooks let be seen. The first snapshot is left to the caller, who may have to begin
/// with something else.
///
/// # Errors
///
/// When this user may not trace, process ids are not the kernel's, a process is not there, the kernel lacks what nothing works
/// without, or the system has no more threads.
pub(crate) fn start(host: &Host, tracing: &Tracing<'_>, older_than: Duration) -> Result<(Hunt, Followed)> {
    preflight::check_capabilities()?;
    host.check_pids()?;
    let Started { tracer, followed, clock } = start::start(tracing)?;
    let leaks = Leaks::new(LeakOptions::seen_by(&tracer.probes().hooks, older_than));
    Ok((Hunt::new(tracer, leaks, clock, tracing.config.stack_bytes)?, followed))
}
