//! Transitions that no program was run for.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
    programs::{BtfTracePoint, ProgramFd},
};

use super::{object::program, ring::take};

/// The kernel does not interrupt a tracing program by itself; it counts how often it would have had to. Most of those
/// transitions are taken by a second program, which counts, too.
pub(super) struct Missed {
    transitions: ProgramFd,
    nested: PerCpuArray<MapData, u64>,
    /// What was missed before anybody wanted to know.
    before: u64,
    /// All of it, once nobody does any more.
    in_all: Option<u64>,
}

impl Missed {
    /// Counts from now on, with both programs attached.
    pub(super) fn watch(ebpf: &mut Ebpf) -> Result<Self> {
        let transitions: &mut BtfTracePoint = program(ebpf, "inet_sock_set_state")?;
        let transitions = transitions.fd()?.try_clone()?;
        let mut missed = Self { transitions, nested: take(ebpf, "NESTED")?, before: 0, in_all: None };
        missed.before = missed.until_now()?;
        Ok(missed)
    }

    /// Counts no further: programs are detached one by one, and what one of them misses then nobody has asked for.
    pub(super) fn end(&mut self) -> Result<()> {
        self.in_all = Some(self.count()?);
        Ok(())
    }

    /// Transitions that neither program took.
    pub(super) fn count(&self) -> Result<u64> {
        match self.in_all {
            Some(count) => Ok(count),
            None => Ok(self.until_now()?.saturating_sub(self.before)),
        }
    }

    fn until_now(&self) -> Result<u64> {
        let descriptor = self.transitions.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))
            .context("failed to read how often the BPF programs were not run")?;
        let nested = self.nested.get(&0, 0).context("failed to read how often the BPF programs were interrupted")?;
        Ok(recursion_misses(&info).saturating_sub(nested.iter().sum()))
    }
}

/// From `bpf_prog_show_fdinfo()` (`kernel/bpf/syscall.c`, Linux 5.12); 0 where it is not counted.
fn recursion_misses(info: &str) -> u64 {
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::recursion_misses;

    #[test]
    fn from_descriptor_info() {
        assert_eq!(recursion_misses("prog_id:\t7\nrun_cnt:\t9\nrecursion_misses:\t404\n"), 404);
        assert_eq!(recursion_misses("prog_id:\t7\n"), 0);
    }
}
