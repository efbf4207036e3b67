//! User stacks, taken in process context only: registers and the top of the stack, unwound in user space.
//!
//! A stack is copied once for each distinct place, and now and then again.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{
        bpf_get_current_task, bpf_get_current_task_btf, bpf_get_task_stack, bpf_probe_read_user, bpf_task_pt_regs,
    },
};
use tcpstate_common::{
    arch,
    config::{MAX_STACK, STACK_PIECE, filter as set},
    helper,
    layout::ABSENT,
    leak::{KERNEL_FRAMES, KernelStack, Registers, StackHeader},
};

use crate::{
    Opaque,
    clock::now_ns,
    kernel::sock::{Probed, Read, Typed},
    maps::{BUDGET, PLACES, STACKS, count},
    rodata::{config, filtering, has, offset},
    stacks::place::{Seen, is_familiar, looked_at, make_familiar, remembered, start_stack},
};

/// What precedes the bytes of a user stack.
const HEAD: usize = size_of::<StackHeader>() + size_of::<KernelStack>();

/// `PF_EXITING` (`include/linux/sched.h`).
pub(crate) const PF_EXITING: u32 = 4;

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

/// User registers of a task.
pub(crate) struct UserRegisters {
    pub(crate) registers: Registers,
    /// Whether they are those of the kernel's own instruction set, and so is the number of the system call.
    pub(crate) is_native: bool,
    pub(crate) syscall: i64,
    pub(crate) argument: u64,
    /// Third argument of the system call.
    pub(crate) length: u64,
}

/// Reads the registers with which a task entered the kernel; `None` for kernel threads, and where there is no way to them.
///
/// # Safety
///
/// `task` has to be a `struct task_struct` that the verifier knows the type of, unless [`helper::TASK_REGISTERS`] is missing.
#[inline(always)]
pub(crate) unsafe fn user_registers(task: *const Opaque) -> Option<UserRegisters> {
    if offset!(regs_ip) == ABSENT {
        return None;
    }
    // SAFETY: the caller's promise; the helper's result is a typed `struct pt_regs`.
    unsafe {
        if has(helper::TASK_REGISTERS) {
            let regs = bpf_task_pt_regs(task.cast_mut().cast()) as *const Opaque;
            return if regs.is_null() { None } else { registers::<Typed>(regs) };
        }
        if !has(helper::READ_KERNEL) || offset!(task_stack) == ABSENT {
            return None;
        }
        // At the top of the stack. Since 6.9 not quite on x86-64 (FRED), but kernels that new have the helper.
        let stack: u64 = Probed::load(task, offset!(task_stack));
        let length = u64::from(offset!(regs_last)) + size_of::<u64>() as u64;
        registers::<Probed>((stack + arch::KERNEL_STACK - length) as *const Opaque)
    }
}

/// The registers in a `struct pt_regs`, if they are those of user mode.
#[inline(always)]
unsafe fn registers<R: Read>(regs: *const Opaque) -> Option<UserRegisters> {
    // SAFETY: a pointer that `R` can read.
    unsafe {
        let mode: arch::Mode = R::load(regs, offset!(regs_mode));
        arch::is_user(mode).then(|| UserRegisters {
            registers: Registers {
                ip: R::load(regs, offset!(regs_ip)),
                sp: R::load(regs, offset!(regs_sp)),
                bp: R::load(regs, offset!(regs_bp)),
            },
            is_native: arch::is_native(mode),
            syscall: R::load(regs, offset!(regs_syscall)),
            argument: R::load(regs, offset!(regs_argument_1)),
            length: R::load(regs, offset!(regs_argument_3)),
        })
    }
}

/// Writes the kernel stack of a task, if it is wanted.
///
/// # Safety
///
/// `task` has to be a `struct task_struct` that the verifier knows the type of, `to` writable.
#[inline(always)]
pub(crate) unsafe fn kernel_stack(task: *const Opaque, to: *mut KernelStack) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).len = 0;
        if filtering(set::KERNEL_STACK) {
            let bytes = (KERNEL_FRAMES * size_of::<u64>()) as u32;
            (*to).len = bpf_get_task_stack(task.cast_mut().cast(), (&raw mut (*to).frames).cast(), bytes, 0);
        }
    }
}

/// The flags of the running task, and the registers with which it entered the kernel.
#[inline(always)]
fn running() -> (u32, Option<UserRegisters>) {
    // SAFETY: the helpers have no precondition; the task is typed where `Typed` reads it.
    unsafe {
        if has(helper::TASK_REGISTERS) {
            let task = bpf_get_current_task_btf() as *const Opaque;
            (Typed::load(task, offset!(task_flags)), user_registers(task))
        } else if has(helper::READ_KERNEL) {
            let task = bpf_get_current_task() as *const Opaque;
            (Probed::load(task, offset!(task_flags)), user_registers(task))
        } else {
            (0, None)
        }
    }
}

/// The registers with which the running task entered the kernel.
#[inline(always)]
pub(crate) fn running_registers() -> Option<UserRegisters> {
    running().1
}

/// The descriptor that the running task's `splice()` reads from, and the length it asked for.
#[inline(always)]
pub(crate) fn running_splice() -> Option<(u64, u64)> {
    if offset!(regs_argument_5) == ABSENT || !has(helper::TASK_REGISTERS) {
        return None;
    }
    // SAFETY: the helpers' results are typed.
    unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const Opaque;
        if regs.is_null() {
            None
        } else {
            Some((Typed::load(regs, offset!(regs_argument_1)), Typed::load(regs, offset!(regs_argument_5))))
        }
    }
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
    let call = running_call();
    if call == OTHER_NUMBERS || is_one(call) { capture() } else { 0 }
}

/// In place of the number of a system call: it cannot be told, or is that of another instruction set.
const OTHER_NUMBERS: i64 = i64::MIN;

/// The number of the system call that the running task is in. Not inlined: the registers fill a frame.
#[inline(never)]
pub(crate) fn running_call() -> i64 {
    running_registers().filter(|user| user.is_native).map_or(OTHER_NUMBERS, |user| user.syscall)
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

/// The stack of the running task where it entered the kernel, if that tells who calls: a dying task's registers tell where it was
/// when it was killed, not who closes its files.
#[inline(always)]
fn seen_at_call() -> Option<Seen> {
    let (flags, user) = running();
    if flags & PF_EXITING != 0 { None } else { Some(Seen::at(&user?.registers)) }
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
    let Some(UserRegisters { registers, .. }) = running_registers() else { return false };
    let pid_tgid = bpf_get_current_pid_tgid();
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
        (*header).tgid = (pid_tgid >> 32) as u32;
        (*header).tid = pid_tgid as u32;
        (*header).registers = registers;
        (*header).copied = 0;
        (*header).pad = 0;
        // Volatile, or zeros in a row would be a call of `memset()`, which has a frame of its own on the BPF stack.
        (&raw mut (*header).missing).write_volatile(0);
        (*header).start_stack = start_stack();
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
    // SAFETY: as above. The helper has no precondition, and returns a typed task.
    unsafe {
        let kernel: *mut KernelStack = start.add(size_of::<StackHeader>()).cast();
        (*kernel).len = 0;
        if has(helper::TASK_REGISTERS) {
            kernel_stack(bpf_get_current_task_btf() as *const Opaque, kernel);
        }
    }
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
