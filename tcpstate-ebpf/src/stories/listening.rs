//! Processes that own listeners, for as long as they live.
//!
//! Whoever called `listen()` may have exited while others that inherited the socket accept from it, and its number may be another's by
//! now. So an owner counts only while its process is known here by number and start.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use tcpstate_common::event::TaskRecord;

use crate::{
    atomic,
    counters::count,
    kernel::{current, task::Task},
};

/// When each of them began, by its thread-group id.
#[map]
static LISTENING: HashMap<u32, u64> = HashMap::with_max_entries(16_384, 0);

/// How many of them have exited: user space looks for who holds their listeners when this grows.
#[map]
static ENDED: Array<u64> = Array::with_max_entries(1, 0);

/// A process owns a listener from now on: the running one, or one that is known to live.
#[inline(always)]
pub(super) fn begins(process: &TaskRecord) {
    if LISTENING.insert(process.tgid, process.start_ns, 0).is_err() {
        count!(map_full);
    }
}

/// The same of a process that an iterator has found, which may be exiting. Returns whether it is not.
#[inline(always)]
pub(crate) fn begins_unless_exiting(process: &TaskRecord, task: Task) -> bool {
    begins(process);
    // It counts as exited before it is told of (`do_exit()`, `kernel/exit.c`): either we see that here, or `exited()` comes after.
    let lives = task.live_threads() > 0;
    if !lives {
        let _ = LISTENING.remove(process.tgid);
    }
    lives
}

/// A process has exited; its sockets are closed after this.
#[inline(always)]
pub(crate) fn exited(tgid: u32) {
    // Removing takes a lock even of what is not there.
    if LISTENING.get_ptr(tgid).is_none() {
        return;
    }
    let _ = LISTENING.remove(tgid);
    if let Some(ended) = ENDED.get_ptr_mut(0) {
        // SAFETY: a value in the map.
        unsafe { atomic::add(ended, 1) };
    }
}

/// Whether the owner of a listener has not exited.
#[inline(always)]
pub(crate) fn lives(owner: &TaskRecord) -> bool {
    // SAFETY: a value in the map.
    LISTENING.get_ptr(owner.tgid).is_some_and(|start_ns| unsafe { *start_ns } == owner.start_ns)
}

/// The same, or it is exiting right now and closes what it owns.
#[inline(always)]
pub(super) fn lives_or_closes(owner: &TaskRecord) -> bool {
    lives(owner) || current::is_of(owner)
}
