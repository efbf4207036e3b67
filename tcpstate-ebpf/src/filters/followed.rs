//! Followed processes: those of `--pid`, and with `--children` what they fork.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tcpstate_common::config::{MAX_PIDS, filter, follow_count, pid_state};

use crate::{clock::now_ns, counters::count, rodata::filtering};

/// Each by its thread-group id, and what is known of it ([`pid_state`]). User space enters those to begin with.
#[map]
static PIDS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PIDS, 0);

/// How many processes in [`PIDS`] a followed process forked, as [`follow_count`] says: the sum over the CPUs, wrapping.
#[map]
static FOLLOW_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(follow_count::LEN, 0);

/// Whether a process is followed.
#[inline(always)]
pub(crate) fn contains(tgid: u32) -> bool {
    PIDS.get_ptr(tgid).is_some()
}

/// A process has forked another one.
#[inline(always)]
pub(crate) fn forked(parent: u32, child: u32) {
    // The pid may be that of a followed process that has exited.
    let reused = contains(child);
    if filtering(filter::CHILDREN) && contains(parent) {
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

/// A process has exited. It stays followed, since its sockets are closed only after this.
#[inline(always)]
pub(crate) fn exited(tgid: u32) {
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
