//! Looks now and then which sockets the processes hold that the filters want: nothing tells when one is passed on.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::Result;
use aya::{Ebpf, programs::Iter};
use tcpstate_common::config::filter;
use tcpstate_core::model::probes::{Hooks, Role};

use super::{
    object::program,
    snapshot::{each_record, open},
    task_files::open_of_process,
};

/// The iterator's program.
pub(super) const PROGRAM: &str = "held_files";

/// How often, at most: what is missed lives for less.
const EVERY: Duration = Duration::from_millis(100);
/// It takes at most this part of the time.
const PART: u32 = 500;
/// Of more processes than these it is not asked one by one.
const FEW: usize = 8;

/// When to look next, and where.
pub(super) struct HeldSockets {
    /// `None` where all descriptors of the machine have to be gone through.
    pids: Option<Vec<u32>>,
    due: Instant,
}

impl HeldSockets {
    /// For filters on processes; `None` where nobody need look, or where the kernel lists no descriptors.
    pub(super) fn new(filters: u32, pids: &[u32], hooks: &Hooks) -> Option<Self> {
        if !is_wanted(filters) || hooks.chosen(Role::Descriptors).is_none() {
            return None;
        }
        // The kernel adds those of `--children`; who has a name of `--comm`, only the iterator sees.
        let given = filters & filter::PID != 0 && filters & filter::CHILDREN == 0 && pids.len() <= FEW;
        Some(Self { pids: given.then(|| pids.to_vec()), due: Instant::now() + EVERY })
    }

    /// Looks if it is time to.
    pub(super) fn look_if_due(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        let began = Instant::now();
        if began < self.due {
            return Ok(());
        }
        let iterator: &mut Iter = program(ebpf, PROGRAM)?;
        match &self.pids {
            Some(pids) => {
                let files: Result<Vec<File>> = pids.iter().map(|&pid| open_of_process(iterator, pid)).collect();
                match files {
                    Ok(files) => files.into_iter().try_for_each(run)?,
                    Err(error) => {
                        tracing::debug!("descriptors of all processes are gone through: {error:#}");
                        self.pids = None;
                        run(open(iterator)?)?;
                    }
                }
            }
            None => run(open(iterator)?)?,
        }
        let took = began.elapsed();
        tracing::debug!("looking for sockets that are held took {} µs", took.as_micros());
        self.due = Instant::now() + EVERY.max(took * PART);
        Ok(())
    }
}

/// Whether these filters are about processes.
pub(super) fn is_wanted(filters: u32) -> bool {
    filters & (filter::PID | filter::COMM) != 0
}

/// The program writes nothing.
fn run(file: File) -> Result<()> {
    each_record(file, |_: &u64| {})
}
