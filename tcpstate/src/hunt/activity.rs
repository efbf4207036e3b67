//! What the threads of leaking processes do while they do not sleep, and what wakes those that never do.

use std::collections::{BTreeMap, HashMap};

use tcpstate_common::leak::{THREAD_FROZEN, THREAD_RUNNING, THREAD_STOPPED, THREAD_TRACED, Thread};
use tcpstate_core::model::{
    Comm, MonotonicNs, ProcessId,
    activity::{Activity, Busiest},
    leak::Holder,
};

use super::sleepers::process;
use crate::{
    kernel::FoundThread,
    sandbox::{BusyProcess, Wakers},
};

/// Shares of a shorter time say little: a tick is up to 10 ms, and the time of a thread that runs is that of its last one.
const SHORTEST_WINDOW_NS: u64 = 100_000_000;

/// The time that threads had used when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct CpuTimes {
    /// By thread and when it began: a pid alone may be another thread's by now.
    used: HashMap<(u32, u64), (MonotonicNs, u64)>,
}

impl CpuTimes {
    /// What the threads do, by process; `now` is when they were looked at.
    pub(super) fn activities(&mut self, threads: &[FoundThread], now: MonotonicNs) -> BTreeMap<ProcessId, Activity> {
        let mut activities: BTreeMap<ProcessId, Activity> = BTreeMap::new();
        let before = std::mem::take(&mut self.used);
        for FoundThread { thread, .. } in threads {
            let activity = activities.entry(process(thread)).or_default();
            match thread.state {
                THREAD_RUNNING => activity.running += 1,
                THREAD_STOPPED => activity.stopped += 1,
                THREAD_TRACED => activity.traced += 1,
                THREAD_FROZEN => activity.frozen += 1,
                _ => {}
            }
            let key = (thread.task.tid, thread.start_ns);
            let last = before.get(&key).copied();
            let busy = last.and_then(|last| share(thread, last, now));
            if busy.map(|busy| busy.permille) > activity.busiest.map(|busiest| busiest.permille) {
                activity.busiest = busy.filter(|busy| busy.permille > 0);
            }
            // One of a moment ago stays what the next survey compares with.
            let recent = last.filter(|&(at, _)| now.0.saturating_sub(at.0) < SHORTEST_WINDOW_NS);
            self.used.insert(key, recent.unwrap_or((now, thread.cpu_ns)));
        }
        activities
    }
}

fn share(thread: &Thread, (at, used_ns): (MonotonicNs, u64), now: MonotonicNs) -> Option<Busiest> {
    let window_ns = now.0.saturating_sub(at.0);
    if window_ns < SHORTEST_WINDOW_NS {
        return None;
    }
    let used = u128::from(thread.cpu_ns.saturating_sub(used_ns)) * 1000 / u128::from(window_ns);
    // Both clocks were not read at the same moment.
    let permille = u32::try_from(used.min(1000)).unwrap_or(1000);
    Some(Busiest { tid: thread.task.tid, comm: Comm(thread.task.comm), permille, window_ns })
}

/// The processes that are busy and have some of these descriptors, with theirs.
pub(super) fn busy(activities: &BTreeMap<ProcessId, Activity>, descriptors: &[Holder]) -> Vec<BusyProcess> {
    let is_busy = |activity: &Activity| activity.busiest.is_some_and(|busiest| busiest.is_busy());
    let mut busy: BTreeMap<u32, BusyProcess> = activities
        .iter()
        .filter(|(_, activity)| is_busy(activity))
        .map(|(&process, _)| (process.pid, BusyProcess { process, sockets: Vec::new() }))
        .collect();
    for holder in descriptors {
        if let Some(busy) = busy.get_mut(&holder.pid) {
            busy.sockets.push(holder.fd);
        }
    }
    busy.into_values().filter(|busy| !busy.sockets.is_empty()).collect()
}

/// Says of processes what wakes them.
pub(super) fn explain(activities: &mut BTreeMap<ProcessId, Activity>, wakers: Wakers) {
    for (process, woken_by) in wakers {
        if let Some(activity) = activities.get_mut(&process) {
            activity.woken_by = Some(woken_by);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use tcpstate_core::model::activity::WokenBy;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn thread(tid: u32, start_ns: u64, state: u32, cpu_ns: u64) -> FoundThread {
        let mut found = FoundThread::zeroed();
        (found.thread.task.tgid, found.thread.task.tid) = (7, tid);
        (found.thread.start_ns, found.thread.state, found.thread.cpu_ns) = (start_ns, state, cpu_ns);
        found
    }

    #[test]
    fn the_busiest_is_known_at_the_second_survey() {
        let mut times = CpuTimes::default();
        let survey = |times: &mut CpuTimes, at, threads: &[FoundThread]| {
            times.activities(threads, MonotonicNs(at)).remove(&ProcessId { pid: 7, start: None }).expect("a process")
        };
        let first =
            survey(&mut times, SECOND, &[thread(8, 1, THREAD_RUNNING, 5 * SECOND), thread(9, 1, THREAD_STOPPED, 0)]);
        assert_eq!((first.running, first.stopped, first.busiest), (1, 1, None));
        let now = [thread(8, 1, THREAD_RUNNING, 6 * SECOND), thread(9, 1, THREAD_STOPPED, SECOND / 10)];
        let busiest = survey(&mut times, 3 * SECOND, &now).busiest.expect("two surveys");
        assert_eq!((busiest.tid, busiest.permille, busiest.window_ns), (8, 500, 2 * SECOND));
        assert!(busiest.is_busy());
        // Another thread of the same id; and one that has only slept.
        let later = [thread(8, 2, THREAD_RUNNING, 9 * SECOND), thread(9, 1, THREAD_STOPPED, SECOND / 10)];
        assert_eq!(survey(&mut times, 4 * SECOND, &later).busiest, None);
        // At once again: what it used is not known any better.
        let soon = [thread(8, 2, THREAD_RUNNING, 10 * SECOND)];
        assert_eq!(survey(&mut times, 4 * SECOND + 1, &soon).busiest, None);
        assert_eq!(survey(&mut times, 5 * SECOND, &soon).busiest.map(|busiest| busiest.permille), Some(1000));
    }

    #[test]
    fn who_is_busy_is_asked_about_what_it_has() {
        let process = |pid| ProcessId { pid, start: None };
        let busiest = |permille| Some(Busiest { tid: 8, comm: Comm([0; 16]), permille, window_ns: SECOND });
        let mut activities = [(7, busiest(900)), (8, busiest(100)), (9, None), (10, busiest(900))]
            .map(|(pid, busiest)| (process(pid), Activity { busiest, ..Activity::default() }))
            .into();
        let descriptors = [(7, 3), (8, 4), (9, 5), (7, 6), (11, 7)].map(|(pid, fd)| Holder { pid, fd });
        let busy = busy(&activities, &descriptors);
        assert_eq!(busy, [BusyProcess { process: process(7), sockets: vec![3, 6] }]);
        let woken_by = WokenBy { epoll: 5, sockets: 2 };
        explain(&mut activities, vec![(process(7), woken_by), (process(12), woken_by)]);
        let woken = activities.iter().filter(|(_, activity)| activity.woken_by == Some(woken_by));
        assert_eq!(woken.map(|(process, _)| process.pid).collect::<Vec<_>>(), [7]);
    }
}
