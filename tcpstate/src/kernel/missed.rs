//! Events that no program was run for.
//!
//! The kernel runs a tracing program once at a time on a CPU (`prog->active`, `kernel/trace/bpf_trace.c` and
//! `kernel/bpf/trampoline.c`): not for what a softirq does that interrupts it, nor, where the kernel is preemptible, for what other
//! tasks do while the one that it ran for waits to run again. It counts how often. To turn preemption off within the program is no
//! help (`bpf_preempt_disable()`, Linux 6.10): the task is preempted as soon as it is on again, which the program has not ended by then.

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

/// The program for transitions. A second one takes most of what it misses.
const TRANSITIONS: &str = "inet_sock_set_state";

/// How the names of programs begin that tell who accepted and who was told of the end, which nothing tells later. What others miss a
/// snapshot puts right.
const WHO: [&str; 5] = ["accept_fexit", "accept_graft", "receive_fexit", "sock_recv_length", "splice_fexit"];

/// What the kernel counts.
pub(super) struct Missed {
    transitions: ProgramFd,
    nested: PerCpuArray<MapData, u64>,
    others: Vec<ProgramFd>,
    /// What was missed before anybody wanted to know.
    before: Misses,
    /// All of it, once nobody does any more.
    in_all: Option<Misses>,
}

/// How often a program was not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Misses {
    /// Transitions that neither program took.
    pub(super) transitions: u64,
    /// Accepts and receives. Most receives would have told nothing.
    pub(super) others: u64,
}

impl Missed {
    /// Counts from now on, with all programs attached.
    pub(super) fn watch(ebpf: &mut Ebpf) -> Result<Self> {
        let transitions: &mut BtfTracePoint = program(ebpf, TRANSITIONS)?;
        let transitions = transitions.fd()?.try_clone()?;
        let mut others = Vec::new();
        for (name, program) in ebpf.programs() {
            // One that is not loaded has no descriptor.
            if WHO.iter().any(|known| name.starts_with(known))
                && let Ok(descriptor) = program.fd()
            {
                others.push(descriptor.try_clone()?);
            }
        }
        let nested = take(ebpf, "NESTED")?;
        let mut missed = Self { transitions, nested, others, before: Misses::default(), in_all: None };
        missed.before = missed.until_now()?;
        Ok(missed)
    }

    /// Counts no further: programs are detached one by one, and what one of them misses then nobody has asked for.
    pub(super) fn end(&mut self) -> Result<()> {
        self.in_all = Some(self.count()?);
        Ok(())
    }

    /// What was missed since.
    pub(super) fn count(&self) -> Result<Misses> {
        if let Some(misses) = self.in_all {
            return Ok(misses);
        }
        let Misses { transitions, others } = self.until_now()?;
        Ok(Misses {
            transitions: transitions.saturating_sub(self.before.transitions),
            others: others.saturating_sub(self.before.others),
        })
    }

    fn until_now(&self) -> Result<Misses> {
        let nested = self.nested.get(&0, 0).context("failed to read how often the BPF programs were interrupted")?;
        let mut others = 0;
        for program in &self.others {
            others += misses_of(program)?;
        }
        Ok(Misses { transitions: misses_of(&self.transitions)?.saturating_sub(nested.iter().sum()), others })
    }
}

fn misses_of(program: &ProgramFd) -> Result<u64> {
    let descriptor = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))
        .context("failed to read how often the BPF programs were not run")?;
    Ok(recursion_misses(&info))
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
