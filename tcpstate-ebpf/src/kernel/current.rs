//! The running task. In process context it is the one on whose behalf the kernel runs; in softirq it is anybody.
//!
//! Two ways lead to what it has. A typed load costs least when it runs; of a pointer that is followed by a helper the verifier need not
//! know the type, which saves it a millisecond (see [`Identity`](crate::kernel::sock::Identity)). Each question below is asked in the
//! way that suits it, and in the other one where the kernel does not offer that.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_get_current_comm};
use tcpstate_common::{COMM_LEN, event::TaskRecord, helper, interpreted, leak::KernelStack};

use crate::{
    kernel::{
        read::{Opaque, Probed, Typed},
        registers::{self, UserRegisters},
        task::{Task, padded},
    },
    rodata::{has, offset},
};

/// `PF_EXITING` (`include/linux/sched.h`): the task is on its way out of `do_exit()`.
const PF_EXITING: u32 = 4;

/// Runs `$work` on the running task: by typed loads, or else by a helper.
macro_rules! by_loads {
    (|$task:ident| $work:expr, else $nothing:expr) => {
        if has(helper::TASK_REGISTERS) {
            let $task = Task::<Typed>::current();
            $work
        } else if has(helper::READ_KERNEL) {
            let $task = Task::<Probed>::current();
            $work
        } else {
            $nothing
        }
    };
}

/// Runs `$work` on the running task: by a helper, or else by typed loads.
macro_rules! by_helper {
    (|$task:ident| $work:expr, else $nothing:expr) => {
        if has(helper::READ_KERNEL) {
            let $task = Task::<Probed>::current();
            $work
        } else if has(helper::TASK_REGISTERS) {
            let $task = Task::<Typed>::current();
            $work
        } else {
            $nothing
        }
    };
}

/// Its process, where no more of it is wanted yet.
#[inline(always)]
pub(crate) fn tgid() -> u32 {
    ids().0
}

/// Its real user, in the initial user namespace.
#[inline(always)]
pub(crate) fn uid() -> u32 {
    bpf_get_current_uid_gid() as u32
}

/// Tells it from all tasks that live.
#[inline(always)]
pub(crate) fn id() -> u64 {
    bpf_get_current_pid_tgid()
}

/// Its process and thread.
#[inline(always)]
fn ids() -> (u32, u32) {
    let pid_tgid = bpf_get_current_pid_tgid();
    ((pid_tgid >> 32) as u32, pid_tgid as u32)
}

/// Who it is, under its own name.
#[inline(always)]
pub(crate) fn owner() -> TaskRecord {
    let (tgid, tid) = ids();
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: to the verifier the helper fills all of it. An array of zeros before would be a call of `memset()`, which has a
    // frame of its own on the BPF stack.
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32);
        comm.assume_init()
    };
    TaskRecord { tgid, tid, comm: padded(comm), start_ns: start_ns() }
}

/// Whether it is of this process.
#[inline(always)]
pub(crate) fn is_of(process: &TaskRecord) -> bool {
    tgid() == process.tgid && start_ns() == process.start_ns
}

/// When its process began.
#[inline(always)]
fn start_ns() -> u64 {
    by_loads!(|task| task.process_start_ns(), else 0)
}

/// Writes who it is, under the name of its process.
///
/// # Safety
///
/// `to` has to be writable.
#[inline(never)]
pub(crate) unsafe fn write_process(to: *mut TaskRecord) {
    // SAFETY: the caller's promise.
    unsafe {
        ((*to).tgid, (*to).tid) = ids();
        (*to).comm = by_helper!(|task| task.leader().comm(), else [0; COMM_LEN]);
        (*to).start_ns = start_ns();
    }
}

/// Whether it is exiting.
#[inline(always)]
pub(crate) fn is_exiting() -> bool {
    by_loads!(|task| task.flags(), else 0) & PF_EXITING != 0
}

/// The registers with which it entered the kernel.
#[inline(always)]
pub(crate) fn registers() -> Option<UserRegisters> {
    by_loads!(|task| registers::of(task), else None)
}

/// The same if they tell who calls: those of a task that exits tell where it was when it was killed, not who closes its files.
#[inline(always)]
pub(crate) fn registers_of_caller() -> Option<UserRegisters> {
    let (flags, registers) = by_loads!(|task| (task.flags(), registers::of(task)), else (0, None));
    if flags & PF_EXITING != 0 { None } else { registers }
}

/// In place of the number of a system call: it cannot be told, or is that of another instruction set.
pub(crate) const OTHER_NUMBERS: i64 = i64::MIN;

/// The number of the system call that it is in. Not inlined: the registers fill a frame.
#[inline(never)]
pub(crate) fn system_call() -> i64 {
    registers().filter(|user| user.is_native).map_or(OTHER_NUMBERS, |user| user.syscall)
}

/// The descriptor that its `splice()` reads from, and the length that it asked for.
#[inline(always)]
pub(crate) fn splice() -> Option<(u64, u64)> {
    if has(helper::TASK_REGISTERS) { registers::splice_of(Task::<Typed>::current()) } else { None }
}

/// Writes its kernel stack, if that is wanted and can be told.
///
/// # Safety
///
/// `to` has to be writable.
#[inline(always)]
pub(crate) unsafe fn write_kernel_stack(to: *mut KernelStack) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).len = 0;
        if has(helper::TASK_REGISTERS) {
            Task::<Typed>::current().write_kernel_stack(to);
        }
    }
}

/// The array of its descriptors, and its length.
#[inline(always)]
pub(crate) fn descriptors() -> (*const Opaque, u32) {
    by_loads!(|task| task.descriptors(), else (core::ptr::null(), 0))
}

/// Start and length of where the kernel has loaded its program (`load_elf_binary()`, `fs/binfmt_elf.c`).
#[inline(always)]
pub(crate) fn code_of_program() -> [u64; 2] {
    let start = word_of_memory(offset!(mm_start_code));
    [start, word_of_memory(offset!(mm_end_code)).saturating_sub(start)]
}

/// Where the stack of its process's first thread began (`create_elf_tables()`, `fs/binfmt_elf.c`).
#[inline(always)]
pub(crate) fn start_of_stack() -> u64 {
    word_of_memory(offset!(mm_start_stack))
}

/// What tells its program from others.
#[inline(always)]
pub(crate) fn program() -> u64 {
    interpreted::program(start_of_stack(), word_of_memory(offset!(mm_end_code)))
}

/// Its thread pointer; 0 where that cannot be told.
#[inline(always)]
pub(crate) fn thread_pointer() -> u64 {
    by_helper!(|task| task.thread_pointer(), else 0)
}

#[inline(always)]
fn word_of_memory(offset: u32) -> u64 {
    by_helper!(|task| task.word_of_memory(offset), else 0)
}
