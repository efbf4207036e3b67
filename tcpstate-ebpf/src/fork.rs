//! Followed processes: `--pid`, and with `--children` what they fork.

use tcpstate_common::config::{filter, pid_state};

use crate::{
    Opaque,
    config::{filtering, offset},
    maps::{LIVE_CHILDREN, PIDS, count},
    sock::load,
};

/// `sched_process_fork`: a new thread or process.
#[inline(always)]
pub(crate) fn on_fork(parent: *const Opaque, child: *const Opaque) {
    // SAFETY: both are typed tasks of the tracepoint.
    let (parent, child) = unsafe { (load::<u32>(parent, offset!(task_tgid)), load::<u32>(child, offset!(task_tgid))) };
    if parent == child {
        return;
    }
    if filtering(filter::CHILDREN) && PIDS.get_ptr(parent).is_some() {
        if PIDS.insert(child, pid_state::CHILD, 0).is_ok() {
            live_children(1);
        } else {
            count!(map_full);
        }
    } else if PIDS.get_ptr(child).is_some() {
        // The pid of a followed process that has exited now belongs to a stranger.
        let _ = PIDS.remove(child);
    }
}

/// `sched_process_exit`: the end of a task. The process stays followed, since its sockets are closed only after this.
#[inline(always)]
pub(crate) fn on_exit(task: *const Opaque) {
    // SAFETY: a typed task of the tracepoint.
    let (tgid, live): (u32, i32) =
        unsafe { (load(task, offset!(task_tgid)), load(load(task, offset!(task_signal)), offset!(signal_live))) };
    if live != 0 {
        return;
    }
    if let Some(state) = PIDS.get_ptr_mut(tgid) {
        // SAFETY: a value in the map; a process ends once.
        unsafe {
            if *state == pid_state::CHILD {
                *state = pid_state::EXITED;
                live_children(-1);
            }
        }
    }
}

#[inline(always)]
fn live_children(change: i64) {
    if let Some(live) = LIVE_CHILDREN.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { *live = (*live).wrapping_add_signed(change) };
    }
}
