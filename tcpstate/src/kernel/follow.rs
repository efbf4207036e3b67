//! The processes that `--pid` and `--children` follow.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray},
};
use rustix::time::{ClockId, clock_gettime};
use tcpstate_common::config::{MAX_PIDS, follow_count, pid_state};

use super::ring;
use crate::host::processes::descendants;

/// Above so many, processes that have exited are forgotten.
const MANY: u64 = MAX_PIDS as u64 / 4 * 3;
/// So many stay then.
const FEW: u64 = MAX_PIDS as u64 / 2;
/// What a process leaves on its way out is still its own for so long, units of [`pid_state::time`]: some seconds.
const LEAVING: u32 = 4;

/// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
const NOEXIST: u64 = 1;

/// The map of followed processes, and what is counted of it.
pub(super) struct Follow {
    pids: HashMap<MapData, u32, u32>,
    counts: PerCpuArray<MapData, u64>,
    /// How many were taken out of the map by us, which the programs do not count.
    forgotten: u64,
}

/// Follows these, before any program is attached.
pub(super) fn begin(ebpf: &mut Ebpf, pids: &[u32]) -> Result<()> {
    let mut map: HashMap<_, u32, u32> = ring::borrow(ebpf, "PIDS")?;
    for pid in pids {
        map.insert(pid, pid_state::GIVEN, 0).with_context(|| format!("failed to follow pid {pid}"))?;
    }
    Ok(())
}

/// Follows as well what these have forked before forks were seen, and what that has forked before it was followed.
pub(super) fn catch_up(ebpf: &mut Ebpf, pids: &[u32]) -> Result<()> {
    let mut map: HashMap<_, u32, u32> = ring::borrow(ebpf, "PIDS")?;
    loop {
        let mut new = false;
        for pid in descendants(pids) {
            match map.insert(pid, pid_state::GIVEN, NOEXIST) {
                Ok(()) => new = true,
                // It was forked since, and stays what the programs have made of it.
                Err(error) if is_known(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("failed to follow pid {pid}")),
            }
        }
        if !new {
            return Ok(());
        }
    }
}

fn is_known(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EEXIST))
}

impl Follow {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self { pids: ring::take(ebpf, "PIDS")?, counts: ring::take(ebpf, "FOLLOW_COUNTS")?, forgotten: 0 })
    }

    /// Processes that were forked since the start and live.
    pub(super) fn live_children(&self) -> Result<u64> {
        self.count(follow_count::LIVE)
    }

    /// Makes room when there is little: children stay followed after their end, since their sockets may outlive them.
    pub(super) fn make_room(&mut self) -> Result<()> {
        let kept = self.count(follow_count::KEPT)?.wrapping_sub(self.forgotten);
        if kept < MANY {
            return Ok(());
        }
        let now = clock_gettime(ClockId::Monotonic);
        let now = pid_state::time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
        let left = |state| pid_state::exited_at(state).filter(|at| now.wrapping_sub(*at) >= LEAVING);
        let entries = self.pids.iter().flatten();
        let mut exited: Vec<(u32, u32)> = entries.filter_map(|(pid, state)| Some((left(state)?, pid))).collect();
        exited.sort_unstable();
        for (_, pid) in exited.into_iter().take((kept - FEW) as usize) {
            // It may belong to a stranger by now, and not be there any more.
            self.forgotten += u64::from(self.pids.remove(&pid).is_ok());
        }
        Ok(())
    }

    fn count(&self, index: u32) -> Result<u64> {
        let per_cpu = self.counts.get(&index, 0).context("failed to read the number of followed processes")?;
        // One CPU's count may be negative: a child can end on another one than it began on.
        Ok(per_cpu.iter().fold(0, |sum: u64, &count| sum.wrapping_add(count)))
    }
}
