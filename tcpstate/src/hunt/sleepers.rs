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
use tcpstate_stacks::{
    process::stack::read_stack,
    unwind::{StackCopy, fold},
};

use super::{
    naming::Unnamed,
    stacks::{Stacks, registers},
};
use crate::kernel::FoundThread;

/// Most bytes of a thread's stack that are read.
const STACK_BYTES: usize = 64 << 10;

const SPLICE: i64 = 275;

/// Numbers and names of system calls that threads sleep in (x86-64); those that send are marked.
const SYSCALLS: [(i64, &str, bool); 30] = [
    (0, "read", false),
    (1, "write", true),
    (7, "poll", false),
    (17, "pread64", false),
    (18, "pwrite64", false),
    (19, "readv", false),
    (20, "writev", true),
    (23, "select", false),
    (34, "pause", false),
    (35, "nanosleep", false),
    (40, "sendfile", true),
    (42, "connect", false),
    (43, "accept", false),
    (44, "sendto", true),
    (45, "recvfrom", false),
    (46, "sendmsg", true),
    (47, "recvmsg", false),
    (61, "wait4", false),
    (128, "rt_sigtimedwait", false),
    (202, "futex", false),
    (230, "clock_nanosleep", false),
    (232, "epoll_wait", false),
    (270, "pselect6", false),
    (271, "ppoll", false),
    (SPLICE, "splice", true),
    (281, "epoll_pwait", false),
    (288, "accept4", false),
    (307, "sendmmsg", true),
    (426, "io_uring_enter", false),
    (441, "epoll_pwait2", false),
];

/// Threads asleep in a send to one of these descriptors, by process.
pub(crate) fn in_send(threads: &[FoundThread], descriptors: &[Holder]) -> BTreeMap<u32, u32> {
    let sends = |found: &&FoundThread| syscall(found.thread.syscall).is_some_and(|(.., sends)| *sends);
    let sending: Vec<&Thread> = threads.iter().filter(sends).map(|found| &found.thread).collect();
    let mut counts = BTreeMap::new();
    if sending.is_empty() {
        return counts;
    }
    let descriptors: HashSet<&Holder> = descriptors.iter().collect();
    for thread in sending {
        // Of `splice()` the first argument is where it reads from.
        let to = u32::try_from(thread.argument).ok().map(|fd| Holder { pid: thread.task.tgid, fd });
        if thread.syscall == SPLICE || to.is_some_and(|to| descriptors.contains(&to)) {
            *counts.entry(thread.task.tgid).or_default() += 1;
        }
    }
    counts
}

/// A thread that sleeps in a system call.
#[derive(Debug)]
pub(crate) struct Asleep {
    pid: u32,
    thread: Thread,
}

/// The sleeping threads of processes, with their stacks, unwound at once: they run on.
pub(crate) fn of_processes(pids: &[u32], threads: &[FoundThread], stacks: &mut Stacks) -> (Vec<Asleep>, Vec<Unnamed>) {
    let mut bytes = Vec::new();
    let mut asleep = (Vec::new(), Vec::new());
    for &pid in pids {
        // Only a thread in a system call sleeps.
        for FoundThread { thread, kernel } in
            threads.iter().filter(|found| found.thread.task.tgid == pid && found.thread.syscall >= 0)
        {
            if read_stack(pid, thread.registers.sp, STACK_BYTES, &mut bytes).is_ok() {
                let may_go_on = bytes.len() >= STACK_BYTES;
                let registers = registers(thread.registers);
                asleep.0.push(Asleep { pid, thread: *thread });
                let raw = StackCopy { pid, registers, bytes: &bytes, missing: &[], start_stack: None, may_go_on };
                asleep.1.push(stacks.of_thread(&raw, kernel));
            }
        }
    }
    asleep
}

/// Where the threads of each of these processes are, in their order: those at the same place together, most first.
pub(crate) fn folded(pids: &[u32], asleep: &[Asleep], named: Vec<Stack>) -> Vec<(u32, Vec<Sleepers>)> {
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
                syscall: syscall(number).map(|(_, name, _)| (*name).to_owned()),
                stack,
            })
        })
        .collect()
}

fn syscall(number: i64) -> Option<&'static (i64, &'static str, bool)> {
    SYSCALLS.binary_search_by_key(&number, |&(number, ..)| number).ok().map(|index| &SYSCALLS[index])
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

    #[test]
    fn numbers_are_in_order_and_the_kernels() {
        assert!(SYSCALLS.is_sorted_by_key(|&(number, ..)| number));
        let number_of = |wanted: &str| SYSCALLS.iter().find(|(_, name, _)| *name == wanted).map(|&(number, ..)| number);
        assert_eq!(number_of("sendto"), Some(libc::SYS_sendto));
        assert_eq!(number_of("futex"), Some(libc::SYS_futex));
        assert_eq!(number_of("epoll_wait"), Some(libc::SYS_epoll_wait));
        assert_eq!(number_of("accept4"), Some(libc::SYS_accept4));
        assert_eq!(syscall(2), None);
    }
}
