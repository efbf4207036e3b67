//! Where the threads of leaking processes sleep now: registers only, user space reads the stacks.

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::{
    layout::ABSENT,
    leak::{KernelStack, Thread},
};

use crate::{
    Opaque,
    hooks::opening::Meta,
    kernel::sock::load,
    maps::{KERNEL, TARGETS},
    owner,
    rodata::offset,
    stacks::capture as stack,
};

/// `struct bpf_iter__task`.
#[repr(C)]
pub(crate) struct TaskContext {
    meta: *const Meta,
    task: *const Opaque,
}

#[inline(always)]
pub(crate) fn on_task(ctx: *const TaskContext) {
    // SAFETY: the iterator's context; a null task marks the end.
    unsafe {
        let task = (*ctx).task;
        if task.is_null() {
            return;
        }
        let owner = owner::of_task(task);
        if TARGETS.get_ptr(owner.tgid).is_none() {
            return;
        }
        if is_running(task) {
            // What it would be shown to sleep in is what it has left.
            return;
        }
        let Some(user) = stack::user_registers(task) else { return };
        let thread = Thread { task: owner, registers: user.registers, syscall: user.syscall, argument: user.argument };
        let seq = (*(*ctx).meta).seq();
        let Some(kernel) = KERNEL.get_ptr_mut(0) else { return };
        stack::kernel_stack(task, kernel);
        bpf_seq_write(seq, (&raw const thread).cast(), size_of::<Thread>() as u32);
        bpf_seq_write(seq, kernel.cast(), size_of::<KernelStack>() as u32);
    }
}

/// Whether a task has a CPU or waits for one (`TASK_RUNNING`, `include/linux/sched.h`).
///
/// # Safety
///
/// `task` has to be a `struct task_struct` that the verifier knows the type of.
#[inline(always)]
unsafe fn is_running(task: *const Opaque) -> bool {
    // SAFETY: the caller's promise; the former state is a longer number, of which the lower half is enough.
    unsafe {
        if offset!(task_state) != ABSENT {
            load::<u32>(task, offset!(task_state)) == 0
        } else if offset!(task_state_former) != ABSENT {
            load::<u32>(task, offset!(task_state_former)) == 0
        } else {
            false
        }
    }
}
