//! Processes that begin and end: children of followed ones are followed, too, programs that begin are looked into for interpreters, and who
//! has exited owns no listener any more.

use tcpstate_common::config::filter;

use crate::{
    filters::{followed, owner},
    kernel::task::Task,
    rodata::filtering,
    stacks::interpreted,
    stories::listening,
};

/// `sched_process_fork`: a new thread or process.
#[inline(always)]
pub(crate) fn on_fork(parent: Task, child: Task) {
    let (parent, child) = (parent.tgid(), child.tgid());
    if parent != child {
        followed::forked(parent, child);
    }
}

/// `sched_process_exec`: the running task executes another program. Which sockets that will have is not known yet; of a cgroup that is not
/// wanted it may not be looked into before.
#[inline(always)]
pub(crate) fn on_exec() {
    if !filtering(filter::CGROUP) && owner::wants_current() {
        interpreted::begun();
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
