//! Followed processes: `--pid`, and with `--children` what they fork.

use tcpstate_common::config::{filter, follow_count, pid_state};

use crate::{
    clock::now_ns,
    kernel::task::Task,
    maps::{FOLLOW_COUNTS, PIDS, count},
    rodata::filtering,
};

/// `sched_process_fork`: a new thread or process.
#[inline(always)]
pub(crate) fn on_fork(parent: Task, child: Task) {
    let (parent, child) = (parent.tgid(), child.tgid());
    if parent == child {
        return;
    }
    // The pid may be that of a followed process that has exited.
    let reused = PIDS.get_ptr(child).is_some();
    if filtering(filter::CHILDREN) && PIDS.get_ptr(parent).is_some() {
        if PIDS.insert(child, pid_state::CHILD, 0).is_ok() {
            change(follow_count::LIVE, 1);
            change(follow_count::KEPT, i64::from(!reused));
        } else {
            count!(map_full);
        }
    } else if reused && PIDS.remove(child).is_ok() {
        change(follow_count::KEPT, -1);
    }
}

/// `sched_process_exit`: the end of a task. The process stays followed, since its sockets are closed only after this.
#[inline(always)]
pub(crate) fn on_exit(task: Task) {
    let (tgid, live) = (task.tgid(), task.live_threads());
    if live != 0 {
        return;
    }
    if let Some(state) = PIDS.get_ptr_mut(tgid) {
        // SAFETY: a value in the map; a process ends once.
        unsafe {
            if *state == pid_state::CHILD {
                *state = pid_state::exited(now_ns());
                change(follow_count::LIVE, -1);
            }
        }
    }
}

#[inline(always)]
fn change(count: u32, by: i64) {
    if let Some(count) = FOLLOW_COUNTS.get_ptr_mut(count) {
        // SAFETY: this CPU's own value.
        unsafe { *count = (*count).wrapping_add_signed(by) };
    }
}
