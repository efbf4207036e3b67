//! User stacks, taken in process context only: registers and the top of the stack, unwound in user space.
//!
//! A stack is copied once for each distinct place, and now and then again.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tcpstate_common::{
    config::{MAX_STACK, STACK_PIECE},
    helper,
    leak::{KernelStack, StackHeader},
};

use crate::{
    clock::now_ns,
    kernel::{
        current::{self, OTHER_NUMBERS},
        registers::UserRegisters,
    },
    maps::{BUDGET, PLACES, STACKS, count},
    rodata::{config, has},
    stacks::place::{Seen, is_familiar, looked_at, make_familiar, remembered},
};

/// What precedes the bytes of a user stack.
const HEAD: usize = size_of::<StackHeader>() + size_of::<KernelStack>();

/// The smallest page there is.
pub(crate) const PAGE: u64 = 4096;

/// A piece lies in one page, and the bits of a word are enough for all of them.
const _: () = assert!(PAGE.is_multiple_of(STACK_PIECE as u64) && MAX_STACK / STACK_PIECE <= u64::BITS);

/// A place that was met so often is counted in steps as large, so that each CPU may meet it as often without asking [`PLACES`]. A
/// power of two, or [`is_due`] would be stepped over.
const MET_AT_ONCE: u64 = 16;

/// Time in which the number of copies is bounded, nanoseconds.
const WINDOW_NS: u64 = 100_000_000;

/// Copies of one CPU.
#[repr(C)]
pub(crate) struct Budget {
    window: u64,
    taken: u64,
}

/// The place where the running task is, its stack copied if it is new. 0 when it cannot be told.
///
/// Only for hooks that run in process context on behalf of the caller: in softirq the registers are those of whoever was
/// interrupted.
#[inline(always)]
pub(crate) fn capture() -> u64 {
    if !has(helper::READ_USER) {
        return 0;
    }
    match recall() {
        0 => look(),
        place => place,
    }
}

/// The same where `is_one` holds of the system call that the running task is in. What `io_uring` does for a task
/// interrupts whatever call it is in meanwhile (`io_run_task_work()`, `io_uring/io_uring.h`, Linux 6.18), which has nothing to do with
/// the socket.
#[inline(always)]
pub(crate) fn capture_in(is_one: impl FnOnce(i64) -> bool) -> u64 {
    let call = current::system_call();
    if call == OTHER_NUMBERS || is_one(call) { capture() } else { 0 }
}

// Two global functions, as the verifier calls them: each is walked once for each program that calls it, and not once more for each
// way to each call (`Documentation/bpf/verifier.rst`; from 5.6 on). One after the other rather than one in the other: there is
// no room for both on the BPF stack.

/// The place where the running task is, if that is one that was met before and whose stack need not be copied now; else 0.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn recall() -> u64 {
    let Some(seen) = seen_at_call() else { return 0 };
    let place = remembered(&seen);
    if place == 0 || is_familiar(&seen, place) {
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
    make_familiar(&seen, place, step - 1);
    place
}

/// The place where the running task is, told from others by all that its stack has there; it is copied if it is new or due.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn look() -> u64 {
    let Some(seen) = seen_at_call() else { return 0 };
    let place = looked_at(&seen);
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
    if !copy(place) {
        // The next one that comes here tries again.
        let _ = PLACES.remove(place);
    }
    place
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

/// The stack of the running task where it called the kernel.
#[inline(always)]
fn seen_at_call() -> Option<Seen> {
    Some(Seen::at(&current::registers_of_caller()?.registers))
}

/// Copies the stack into its ring buffer. Returns whether it is there.
///
/// It reads the registers once more: the BPF stack has no room to keep them.
#[inline(always)]
fn copy(place: u64) -> bool {
    if !within_budget() {
        count!(stacks_skipped);
        return false;
    }
    let Some(UserRegisters { registers, .. }) = current::registers() else { return false };
    let (tgid, tid) = current::ids();
    let stack_bytes = config!(stack_bytes) as usize;
    let Some(mut entry) = STACKS.reserve_bytes(HEAD + stack_bytes, 0) else {
        count!(stacks_dropped);
        return false;
    };
    let start = entry.as_mut_ptr();
    // Kept in the record: the BPF stack has no room for it.
    let header: *mut StackHeader = start.cast();
    // SAFETY: the entry begins with room for it; ring-buffer entries are aligned to 8 bytes.
    unsafe {
        (*header).place = place;
        (*header).tgid = tgid;
        (*header).tid = tid;
        (*header).registers = registers;
        (*header).copied = 0;
        (*header).pad = 0;
        // Volatile, or zeros in a row would be a call of `memset()`, which has a frame of its own on the BPF stack.
        (&raw mut (*header).missing).write_volatile(0);
        (*header).start_stack = current::start_of_stack();
    }
    for piece in 0..MAX_STACK / STACK_PIECE {
        let at = piece * STACK_PIECE;
        if at as usize >= stack_bytes {
            break;
        }
        // SAFETY: the piece lies within the entry, whose size is a multiple of it behind the head; the helper fails on a
        // bad user address, and leaves zeros.
        let there = unsafe {
            let to = start.add(HEAD + at as usize).cast();
            let from = StackHeader::start(&(*header).registers) + u64::from(at);
            bpf_probe_read_user(to, STACK_PIECE, from as *const _) == 0
        };
        // The stack has ended, or goes on behind a page that was never written to, as a large buffer has many.
        // SAFETY: as above.
        unsafe {
            if there {
                (*header).copied = at + STACK_PIECE;
            } else {
                (*header).missing |= 1 << piece;
            }
        }
    }
    // SAFETY: as above.
    unsafe { current::write_kernel_stack(start.add(size_of::<StackHeader>()).cast()) };
    entry.submit(0);
    true
}

/// Whether this CPU may copy another stack now.
#[inline(always)]
fn within_budget() -> bool {
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own value.
    unsafe {
        let window = now_ns() / WINDOW_NS;
        if (*budget).window != window {
            (*budget).window = window;
            (*budget).taken = 0;
        }
        (*budget).taken += 1;
        (*budget).taken <= u64::from(config!(stacks_per_window))
    }
}
