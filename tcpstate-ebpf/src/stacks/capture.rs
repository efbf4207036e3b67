//! The place of the running task, in process context only. Its stack is copied once for each distinct place, and now and then again.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tcpstate_common::helper;

use crate::{
    counters::count,
    kernel::current::{self, OTHER_NUMBERS},
    rodata::has,
    stacks::{
        copy::copy,
        interpreted,
        memo::{is_familiar, make_familiar},
        place::{Top, looked_at, remembered},
    },
};

/// A place that was met so often is counted in steps as large, so that each CPU may meet it as often without asking [`PLACES`]. A
/// power of two, or [`is_due`] would be stepped over.
const MET_AT_ONCE: u64 = 16;

/// How often each place was met: what is not here has its stack copied. Room for a new one is made by the one that was not met
/// for longest: if it is met again, its stack is copied once more.
#[map]
static PLACES: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Whether the filters are known to want the socket that a stack is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    /// It lacks an address or a port that they go by. User space keeps the copy as it is until a record names its place.
    NotYetKnown,
}

/// The place where the running task is, its stack copied if it is new. 0 when it cannot be told.
///
/// Only for hooks that run in process context on behalf of the caller: in softirq the registers are those of whoever was
/// interrupted.
#[inline(always)]
pub(crate) fn capture(wanted: Wanted) -> u64 {
    if !has(helper::READ_USER) {
        return 0;
    }
    let interpreted = interpreted::place();
    match recall(interpreted) {
        0 => look(u64::from(wanted == Wanted::NotYetKnown), interpreted),
        place => place,
    }
}

/// The same where `is_one` holds of the system call that the running task is in. What `io_uring` does for a task interrupts whatever
/// call it is in meanwhile (`io_run_task_work()`, `io_uring/io_uring.h`, Linux 6.18), which has nothing to do with the socket.
#[inline(always)]
pub(crate) fn capture_in(is_one: impl FnOnce(i64) -> bool, wanted: Wanted) -> u64 {
    let call = current::system_call();
    if call == OTHER_NUMBERS || is_one(call) { capture(wanted) } else { 0 }
}

// Global functions, as the verifier calls them: each is walked once for each program that calls it, and not once more for each
// way to each call (`Documentation/bpf/verifier.rst`; from 5.6 on). One after the other rather than one in the other: there is
// no room for both on the BPF stack.

/// The place where the running task is, if that is one that was met before and whose stack need not be copied now; else 0.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn recall(interpreted: u64) -> u64 {
    let Some(top) = top_at_call(interpreted) else { return 0 };
    let place = remembered(&top);
    if place == 0 || is_familiar(top.memo, place) {
        return place;
    }
    let Some(met) = PLACES.get_ptr_mut(place) else { return 0 };
    // SAFETY: a value in the map; a lost increment only moves the next copy.
    let step = unsafe {
        let step = step(*met);
        if is_due(*met + step) {
            return 0;
        }
        *met += step;
        step
    };
    make_familiar(top.memo, place, step - 1);
    place
}

/// The place where the running task is, told from others by all that its stack has there; it is copied if it is new or due, with
/// the mark that it is given ([`StackHeader::undecided`](tcpstate_common::leak::StackHeader::undecided)).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn look(undecided: u64, interpreted: u64) -> u64 {
    let Some(top) = top_at_call(interpreted) else { return 0 };
    let place = looked_at(&top);
    if let Some(met) = PLACES.get_ptr_mut(place) {
        // SAFETY: as above.
        let met = unsafe {
            *met += step(*met);
            *met
        };
        if !is_due(met) {
            return place;
        }
    } else if PLACES.insert(place, 1, 0).is_err() {
        count!(stacks_dropped);
        return place;
    }
    if !copy(place, undecided) {
        // The next one that comes here tries again.
        let _ = PLACES.remove(place);
    }
    place
}

/// The top of the running task's stack where it called the kernel.
#[inline(always)]
fn top_at_call(interpreted: u64) -> Option<Top> {
    Some(Top::of_current(&current::registers_of_caller()?.registers, interpreted))
}

/// By how much the count of a place that was met `met` times goes up: memos answer for some of the times in between.
#[inline(always)]
fn step(met: u64) -> u64 {
    if met < MET_AT_ONCE { 1 } else { MET_AT_ONCE }
}

/// Whether a stack is copied at the `met`th time: now and then again, so that user space can see whether one place is one stack.
#[inline(always)]
fn is_due(met: u64) -> bool {
    met & (met - 1) == 0
}
