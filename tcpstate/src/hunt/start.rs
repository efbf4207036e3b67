//! The start of a hunt.

use std::path::Path;

use anyhow::Result;
use tcpstate_core::aggregate::leaks::{LeakOptions, Leaks};

use super::engine::Hunt;
use crate::{
    confinement::{self, Duties},
    host::{Host, preflight},
    sandbox::Interpretable,
    session::{
        followed::Followed,
        start::{self, Started, Tracing},
    },
    settings::{filter::Filter, hunt::HuntSettings},
};

/// A hunt that is attached to the kernel and has all its privileges yet.
pub(crate) struct Attached {
    started: Started,
    leaks: Leaks,
    names_kernel: bool,
    /// The processes that may be looked into for interpreters before a socket of theirs is wanted.
    interpretable: Option<Interpretable>,
}

/// Attaches, and has the aggregator know what these hooks let be seen.
///
/// # Errors
///
/// When this user may not trace, process ids are not the kernel's, a process is not there, or the kernel lacks what nothing works
/// without.
pub(crate) fn attach(host: &Host, settings: &HuntSettings, debug: bool) -> Result<Attached> {
    preflight::check_capabilities()?;
    host.check_pids()?;
    let started = start::start(&Tracing {
        config: settings.config(settings.buffer.watermark()),
        pids: settings.filter.pids(),
        children: settings.filter.children() && !settings.newborn,
        buffer: settings.buffer,
        debug,
    })?;
    let leaks = Leaks::new(LeakOptions::seen_by(&started.tracer.probes().hooks, settings.older_than));
    // What has not forked yet is watched from its birth on.
    let leaks = leaks.filtered_by_process(settings.filter.is_by_process() && !settings.newborn);
    // Of a command that has not begun, no process is there.
    let interpretable = interpretable(&settings.filter).filter(|_| !settings.newborn);
    Ok(Attached { started, leaks, names_kernel: settings.kernel_stack, interpretable })
}

/// Those that filters do not leave out whatever sockets they have. Whether a process is in a cgroup is not asked: where one is named, none is
/// looked into before a socket of its is wanted.
fn interpretable(filter: &Filter) -> Option<Interpretable> {
    filter.cgroup().is_none().then(|| Interpretable {
        pids: filter.pids().to_vec(),
        comms: filter.comms().to_vec(),
        netns: filter.netns(),
    })
}

impl Attached {
    /// Gives up what attaching took, but what it takes to make these files, and begins. The first snapshot is left to the
    /// caller, who may have to begin with something else.
    ///
    /// # Errors
    ///
    /// When the privileges cannot be given up, or the system has no more threads.
    pub(crate) fn begin(self, makes: &[&Path]) -> Result<(Hunt, Followed)> {
        let Self { started: Started { tracer, followed, clock }, leaks, names_kernel, interpretable } = self;
        confinement::tracer(&Duties { hunts: true, names_kernel, makes })?;
        let mut hunt = Hunt::new(tracer, leaks, clock)?;
        if let Some(interpretable) = interpretable {
            hunt.look_for_interpreters(interpretable);
        }
        Ok((hunt, followed))
    }
}
