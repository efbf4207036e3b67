//! Where the threads of leaking processes are now. Nothing is stopped: registers come from an iterator, stacks are read from
//! outside, and a thread that runs on meanwhile gives a stack that does not hold together and says so.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tcpstate_common::leak::Thread;
use tcpstate_core::model::{
    Comm,
    leak::Holder,
    stack::{Sleepers, Stack},
};
use tcpstate_stacks::{Sends, StackCopy, Syscall, UnwoundStack, fold};

use super::stacks::Stacks;
use crate::kernel::FoundThread;

/// Threads asleep in a send to one of these descriptors, by process.
pub(crate) fn in_send(threads: &[FoundThread], descriptors: &[Holder]) -> BTreeMap<u32, u32> {
    let sends = |found: &FoundThread| match Syscall::of(found.thread.syscall)?.sends {
        Sends::Nothing => None,
        sends => Some((found.thread, sends)),
    };
    let sending: Vec<(Thread, Sends)> = threads.iter().filter_map(sends).collect();
    let mut counts = BTreeMap::new();
    if sending.is_empty() {
        return counts;
    }
    let descriptors: HashSet<&Holder> = descriptors.iter().collect();
    for (thread, sends) in sending {
        let first = u32::try_from(thread.argument).ok().map(|fd| Holder { pid: thread.task.tgid, fd });
        // Only the first argument is known.
        if sends == Sends::Another || first.is_some_and(|first| descriptors.contains(&first)) {
            *counts.entry(thread.task.tgid).or_default() += 1;
        }
    }
    counts
}

/// A thread that sleeps in a system call.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pid: u32,
    thread: Thread,
}

/// The sleeping threads of processes, with their stacks, unwound at once: they run on.
pub(crate) fn of_processes(
    pids: &[u32],
    threads: &[FoundThread],
    stacks: &mut Stacks,
) -> (Vec<Sleeper>, Vec<UnwoundStack>) {
    let mut bytes = Vec::new();
    let mut asleep = (Vec::new(), Vec::new());
    for &pid in pids {
        // Only a thread in a system call sleeps.
        for FoundThread { thread, kernel } in
            threads.iter().filter(|found| found.thread.task.tgid == pid && found.thread.syscall >= 0)
        {
            if let Ok(copy) = StackCopy::of_sleeper(pid, thread.registers, kernel, &mut bytes) {
                asleep.0.push(Sleeper { pid, thread: *thread });
                asleep.1.push(stacks.unwind(&copy));
            }
        }
    }
    asleep
}

/// Where the threads of each of these processes are, in their order: those at the same place together, most first.
pub(crate) fn folded(pids: &[u32], asleep: &[Sleeper], named: Vec<Stack>) -> Vec<(u32, Vec<Sleepers>)> {
    let named: Vec<Arc<Stack>> = named.into_iter().map(Arc::new).collect();
    let of = |pid: u32| {
        let its = asleep.iter().zip(&named).filter(|(one, _)| one.pid == pid);
        of_process(pid, its.map(|(one, stack)| (&one.thread, (one.thread.syscall, Arc::clone(stack)))).collect())
    };
    pids.iter().map(|&pid| (pid, of(pid))).collect()
}

fn of_process(pid: u32, asleep: Vec<(&Thread, (i64, Arc<Stack>))>) -> Vec<Sleepers> {
    let folded = fold(asleep).into_iter();
    folded
        .filter_map(|folded| {
            let first = folded.threads.first()?;
            let (number, stack) = folded.stack;
            Some(Sleepers {
                threads: folded.threads.len() as u64,
                tid: first.task.tid,
                pid,
                comm: Comm(first.task.comm),
                syscall: Syscall::of(number).map(|call| call.name.to_owned()),
                stack,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn only_sends_to_these_descriptors_count() {
        let thread = |tgid, syscall, argument| {
            let mut found = FoundThread::zeroed();
            (found.thread.task.tgid, found.thread.syscall, found.thread.argument) = (tgid, syscall, argument);
            found
        };
        let threads = [
            thread(7, libc::SYS_write, 4),
            thread(7, libc::SYS_sendto, 5),
            thread(7, libc::SYS_read, 5),
            thread(8, libc::SYS_sendto, 5),
            thread(9, libc::SYS_splice, 3),
            thread(7, libc::SYS_sendmsg, u64::MAX),
        ];
        let descriptors = [Holder { pid: 7, fd: 5 }, Holder { pid: 8, fd: 4 }];
        assert_eq!(in_send(&threads, &descriptors), BTreeMap::from([(7, 1), (9, 1)]));
        assert_eq!(in_send(&threads[2..3], &descriptors), BTreeMap::new());
    }
}
