//! Where the threads of leaking processes are now. Nothing is stopped: registers come from an iterator, stacks are read from
//! outside, and a thread that runs on meanwhile gives a stack that does not hold together and says so.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter,
    sync::Arc,
};

use tcpstate_common::{
    event::TaskRecord,
    leak::{THREAD_ASLEEP, Thread},
};
use tcpstate_core::model::{
    Comm, ProcessId, ProcessStart,
    leak::Holder,
    stack::{Sleepers, Stack},
};
use tcpstate_stacks::{Sends, Syscall, fold};

use crate::{
    kernel::FoundThread,
    sandbox::{SleeperStack, addresses},
};

/// Threads of one process whose stacks are read for a survey: one that has more of them has many at the same place.
const MOST_OF_ONE: usize = 256;
/// Threads in all.
const MOST: usize = 1024;

/// Threads asleep in a send to one of these descriptors, by process.
pub(crate) fn in_send(threads: &[FoundThread], descriptors: &[Holder]) -> BTreeMap<u32, u32> {
    let sends = |found: &FoundThread| match Syscall::of(found.thread.syscall)?.sends {
        Sends::Nothing => None,
        sends => Some((found.thread, sends)),
    };
    let sending: Vec<(Thread, Sends)> =
        threads.iter().filter(|found| is_asleep(&found.thread)).filter_map(sends).collect();
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

/// Whether it waits in a system call for something to happen: not one that is stopped there, which would not go on either way.
fn is_asleep(thread: &Thread) -> bool {
    thread.state == THREAD_ASLEEP && thread.syscall >= 0
}

/// The process that a thread is of.
pub(super) fn process(thread: &Thread) -> ProcessId {
    let TaskRecord { tgid, start_ns, .. } = thread.task;
    ProcessId { pid: tgid, start: ProcessStart::from_ns(start_ns) }
}

/// The threads of processes that sleep in a system call, and what it takes to know where, of as many of the first as are looked at.
pub(crate) fn of_processes(processes: &[ProcessId], threads: &[FoundThread]) -> (Vec<Thread>, Vec<SleeperStack>) {
    let asleep = by_pid(threads.iter().filter(|found| is_asleep(&found.thread)), |found| &found.thread);
    let of = |&wanted: &ProcessId| {
        let of_number = asleep.get(&wanted.pid).into_iter().flatten();
        of_number.copied().filter(|found| wanted.is(process(&found.thread))).collect::<Vec<_>>()
    };
    let asleep: Vec<Vec<&FoundThread>> = processes.iter().map(of).collect();
    let shares = shares(&asleep.iter().map(Vec::len).collect::<Vec<_>>());
    let (mut first, mut others) = (Vec::new(), Vec::new());
    let mut stacks = Vec::new();
    for (asleep, share) in asleep.into_iter().zip(shares) {
        let (looked_at, rest) = asleep.split_at(share);
        for FoundThread { thread, kernel } in looked_at {
            first.push(*thread);
            stacks.push(SleeperStack {
                process: process(thread),
                tid: thread.task.tid,
                registers: thread.registers,
                thread_pointer: thread.thread_pointer,
                cpu_ns: thread.cpu_ns,
                kernel: addresses(kernel).to_vec(),
            });
        }
        others.extend(rest.iter().map(|found| found.thread));
    }
    first.append(&mut others);
    (first, stacks)
}

/// How many threads of each process are looked at, where so many sleep: of all alike, but for those that have fewer.
fn shares(asleep: &[usize]) -> Vec<usize> {
    let mut by_number: Vec<usize> = (0..asleep.len()).collect();
    by_number.sort_by_key(|&index| asleep[index]);
    let mut shares = vec![0; asleep.len()];
    let mut left = MOST;
    for (done, index) in by_number.into_iter().enumerate() {
        shares[index] = asleep[index].min(MOST_OF_ONE).min(left / (asleep.len() - done));
        left -= shares[index];
    }
    shares
}

fn by_pid<T>(threads: impl Iterator<Item = T>, thread: impl Fn(&T) -> &Thread) -> HashMap<u32, Vec<T>> {
    let mut by_pid: HashMap<u32, Vec<T>> = HashMap::new();
    threads.for_each(|found| by_pid.entry(thread(&found).task.tgid).or_default().push(found));
    by_pid
}

/// Where the threads of each of these processes are: those at the same place together, most first, and then those of which it is not
/// known. `named` has the stacks of the first ones.
pub(crate) fn folded(
    processes: &[ProcessId],
    asleep: &[Thread],
    named: Vec<Option<Stack>>,
) -> BTreeMap<ProcessId, Vec<Sleepers>> {
    let why =
        format!("not read: the stacks of {MOST_OF_ONE} threads of a process are, of {MOST} in all, in a few seconds");
    let unread = Arc::new(Stack::unread(why));
    let stacks = named.into_iter().map(|stack| stack.map_or_else(|| Arc::clone(&unread), Arc::new));
    let stacks = stacks.chain(iter::repeat_with(|| Arc::clone(&unread)));
    let asleep = by_pid(asleep.iter().zip(stacks), |(thread, _)| thread);
    let of = |wanted: ProcessId| {
        let its = asleep.get(&wanted.pid).into_iter().flatten().filter(|(thread, _)| wanted.is(process(thread)));
        let its = its.map(|(thread, stack)| (*thread, (thread.syscall, Arc::clone(stack))));
        of_process(wanted.pid, its.collect())
    };
    processes.iter().map(|&wanted| (wanted, of(wanted))).collect()
}

fn of_process(pid: u32, asleep: Vec<(&Thread, (i64, Arc<Stack>))>) -> Vec<Sleepers> {
    let folded = fold(asleep).into_iter();
    let mut sleepers: Vec<Sleepers> = folded
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
        .collect();
    sleepers.sort_by_key(|sleepers| sleepers.stack.is_unread());
    sleepers
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn who_has_the_number_of_another_is_not_it() {
        let thread = |tid, start_ns| {
            let mut thread = FoundThread::zeroed().thread;
            (thread.task.tgid, thread.task.tid, thread.task.start_ns) = (7, tid, start_ns);
            thread
        };
        let asleep = [thread(8, 200), thread(9, 200)];
        let [gone, present] = [100, 200].map(|start| ProcessId { pid: 7, start: ProcessStart::from_ns(start) });
        let folded = folded(&[gone, present], &asleep, vec![Some(Stack::default()); 2]);
        let threads = |process: ProcessId| {
            process.find(&folded).map(|sleepers| sleepers.iter().map(|sleepers| sleepers.threads).sum::<u64>())
        };
        assert_eq!((threads(gone), threads(present)), (Some(0), Some(2)));
        assert_eq!(threads(ProcessId { pid: 8, start: None }), None);
    }

    #[test]
    fn all_are_counted_and_as_many_looked_at_of_each_as_there_is_room_for() {
        assert_eq!(shares(&[30_000, 3, 300]), [256, 3, 256]);
        assert_eq!(shares(&[300; 4]), [256; 4]);
        assert_eq!(shares(&[300, 300, 10, 300, 300, 300]), [202, 203, 10, 203, 203, 203]);
        assert_eq!(shares(&[1; 1025]).iter().sum::<usize>(), MOST);
        assert_eq!(shares(&[]), [0; 0]);
        let thread = |tgid, tid, syscall| {
            let mut found = FoundThread::zeroed();
            (found.thread.task.tgid, found.thread.task.tid, found.thread.syscall) = (tgid, tid, syscall);
            found.thread.state = THREAD_ASLEEP;
            found
        };
        let pool = (0..30_000).map(|tid| thread(7, tid, libc::SYS_futex));
        let threads: Vec<_> = pool.chain([thread(7, 40_000, libc::SYS_accept), thread(9, 9, libc::SYS_read)]).collect();
        let wanted = [7, 9].map(|pid| ProcessId { pid, start: None });
        let (asleep, stacks) = of_processes(&wanted, &threads);
        assert_eq!((asleep.len(), stacks.len()), (30_002, 257));
        // That of the last one cannot be read.
        let mut named = vec![Some(Stack::default()); 256];
        named.push(None);
        let folded = folded(&wanted, &asleep, named);
        let counts = |process: ProcessId| {
            let sleepers = process.find(&folded).into_iter().flatten();
            sleepers.map(|one| (one.threads, one.syscall.as_deref(), one.stack.is_unread())).collect::<Vec<_>>()
        };
        let pool = [(256, Some("futex"), false), (29_744, Some("futex"), true), (1, Some("accept"), true)];
        assert_eq!(counts(wanted[0]), pool);
        assert_eq!(counts(wanted[1]), [(1, Some("read"), true)]);
    }

    #[test]
    fn only_sends_to_these_descriptors_count() {
        let thread = |tgid, syscall, argument| {
            let mut found = FoundThread::zeroed();
            (found.thread.task.tgid, found.thread.syscall, found.thread.argument) = (tgid, syscall, argument);
            found.thread.state = THREAD_ASLEEP;
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
