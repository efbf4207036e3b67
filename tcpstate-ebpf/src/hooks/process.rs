//! Processes that begin and end: children of followed ones are followed, too, and who has exited owns no listener any more.

use tcpstate_common::config::filter;

use crate::{filters::followed, kernel::task::Task, rodata::filtering, stories::listening};

/// `sched_process_fork`: a new thread or process.
#[inline(always)]
pub(crate) fn on_fork(parent: Task, child: Task) {
    let (parent, child) = (parent.tgid(), child.tgid());
    if parent != child {
        followed::forked(parent, child);
    }
}

/// `sched_process_exit`: the end of a thread, which is that of its process when no other one lives.
#[inline(always)]
pub(crate) fn on_exit(task: Task) {
    let (tgid, live) = (task.tgid(), task.live_threads());
    if live == 0 {
        listening::exited(tgid);
        if filtering(filter::PID) {
            followed::exited(tgid);
        }
    }
}
