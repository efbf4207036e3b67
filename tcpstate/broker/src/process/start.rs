//! When a process began: what tells it from an earlier and a later one with the same number.

use std::{fs, sync::OnceLock};

use rustix::param::clock_ticks_per_second;
use tcpstate_core::model::{ProcessId, ProcessStart};

use super::stat::field;

const NS_PER_SECOND: i128 = 1_000_000_000;

/// When process `pid` began, clock ticks since the start of the system in our time namespace (`do_task_stat()`, `fs/proc/array.c`, Linux
/// 6.18). `None` when there is no such process.
#[must_use]
pub fn ticks(pid: u32) -> Option<u64> {
    in_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The same from a `/proc/PID/stat` that was read already.
#[must_use]
pub(super) fn in_stat(stat: &[u8]) -> Option<u64> {
    const START_TIME: usize = 22;
    field(stat, START_TIME)
}

/// Time that a thread has had a CPU for, nanoseconds (`proc_pid_schedstat()`, `fs/proc/base.c`, Linux 6.18). One that sleeps has had no more
/// of it as long as it has not run. `None` when there is no such thread, or the kernel keeps no account (`CONFIG_SCHED_INFO`).
#[must_use]
pub fn cpu_ns(pid: u32, tid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether the process that has this number now is this one, as far as its start is known. `false` when there is none.
#[must_use]
pub fn is_still(process: ProcessId) -> bool {
    let Some(now) = ticks(process.pid) else { return false };
    process.start.is_none_or(|start| shown(start, offset_ns()) == i128::from(now))
}

/// What `/proc/PID/stat` shows of a start (`nsec_to_clock_t()`, `kernel/time/time.c`).
fn shown(ProcessStart(ns): ProcessStart, offset_ns: i128) -> i128 {
    (i128::from(ns.get()) + offset_ns) / (NS_PER_SECOND / i128::from(clock_ticks_per_second()))
}

/// By how much `CLOCK_BOOTTIME` is shifted in our time namespace (`time_namespaces(7)`), nanoseconds.
fn offset_ns() -> i128 {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        // Not there without time namespaces (`CONFIG_TIME_NS`).
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|offsets| boottime(&offsets)).unwrap_or(0)
    })
}

fn boottime(offsets: &str) -> Option<i128> {
    let mut words = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?.split_ascii_whitespace();
    let mut next = || words.next()?.parse::<i128>().ok();
    Some(next()? * NS_PER_SECOND + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let pid = std::process::id();
        let began = ticks(pid).expect("own start");
        let at = |ticks: u64| {
            let ns = i128::from(ticks) * (NS_PER_SECOND / i128::from(clock_ticks_per_second())) - offset_ns();
            ProcessStart::from_ns(u64::try_from(ns).expect("after the boot"))
        };
        assert!(is_still(ProcessId { pid, start: at(began) }));
        assert!(is_still(ProcessId { pid, start: None }));
        assert!(!is_still(ProcessId { pid, start: at(began + 1) }), "another process");
        assert!(!is_still(ProcessId { pid: i32::MAX as u32, start: None }), "none");
    }

    #[test]
    fn of_another_time_namespace() {
        assert_eq!(
            boottime("monotonic           0         0\nboottime       -86400  500000000\n"),
            Some(-86_399_500_000_000)
        );
        assert_eq!(boottime(""), None);
        let start = ProcessStart::from_ns(90_000_123_456_789).expect("a start");
        assert_eq!(shown(start, -86_400_000_000_000), 360_012);
    }
}
