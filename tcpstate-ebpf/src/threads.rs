//! Where the threads of leaking processes are now: registers only, user space reads the stacks.

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::leak::{KernelStack, Thread};

use crate::{
    Opaque,
    maps::{KERNEL, TARGETS},
    owner,
    snapshot::Meta,
    stack,
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
        let Some(user) = stack::user_registers(task) else { return };
        let thread = Thread { task: owner, registers: user.registers, syscall: user.syscall, argument: user.argument };
        let seq = (*(*ctx).meta).seq();
        let Some(kernel) = KERNEL.get_ptr_mut(0) else { return };
        stack::kernel_stack(task, kernel);
        bpf_seq_write(seq, (&raw const thread).cast(), size_of::<Thread>() as u32);
        bpf_seq_write(seq, kernel.cast(), size_of::<KernelStack>() as u32);
    }
}
