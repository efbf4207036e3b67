//! Where the threads of leaking processes are now. Nothing is stopped: registers come from an iterator, stacks are read from
//! outside, and a thread that runs on meanwhile gives a stack that does not hold together, which is then not shown.

use std::collections::BTreeMap;

use tcpstate_common::leak::Thread;

use super::stacks::{Named, Stacks};
use crate::{
    process::stack::read_stack,
    unwind::{RawStack, Registers, Stack, fold},
};

/// Most bytes of a thread's stack that are read.
const STACK_BYTES: usize = 64 << 10;

/// System calls in which a thread sends (x86-64): write, writev, sendfile, sendto, sendmsg, splice, sendmmsg.
const SENDS: [i64; 7] = [1, 20, 40, 44, 46, 275, 307];

/// Threads of a process that are at the same place.
#[derive(Clone, Debug)]
pub(super) struct Sleepers {
    /// Their ids.
    pub(super) threads: Vec<u32>,
    /// Number of the system call they are in.
    pub(super) syscall: i64,
    /// Where they are.
    pub(super) stack: Named,
}

/// Threads in a send, by process.
pub(super) fn in_send(threads: &[Thread]) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for thread in threads.iter().filter(|thread| SENDS.contains(&thread.syscall)) {
        *counts.entry(thread.task.tgid).or_default() += 1;
    }
    counts
}

/// Where the threads of a process are, those at the same place together, most first.
pub(super) fn of_process(pid: u32, threads: &[Thread], stacks: &mut Stacks) -> Vec<Sleepers> {
    let mut bytes = Vec::new();
    let mut unwound: Vec<(u32, (i64, Vec<_>))> = Vec::new();
    let mut whole: Vec<Stack> = Vec::new();
    // Only threads in a system call sleep.
    for thread in threads.iter().filter(|thread| thread.task.tgid == pid && thread.syscall >= 0) {
        if read_stack(pid, thread.registers.sp, STACK_BYTES, &mut bytes).is_err() {
            continue;
        }
        let registers = Registers { ip: thread.registers.ip, sp: thread.registers.sp, fp: thread.registers.bp };
        let truncated_copy = bytes.len() >= STACK_BYTES;
        let stack = stacks.unwind(&RawStack { pid, registers, stack: &bytes, truncated_copy });
        unwound.push((thread.task.tid, (thread.syscall, stack.frames.clone())));
        whole.push(stack);
    }
    fold(unwound)
        .into_iter()
        .filter_map(|folded| {
            let (syscall, frames) = folded.stack;
            let stack = whole.iter().find(|stack| stack.frames == frames)?;
            Some(Sleepers { threads: folded.threads, syscall, stack: stacks.name(stack) })
        })
        .collect()
}
