//! Where the threads of leaking processes sleep now: registers only, user space reads the stacks.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tcpstate_common::leak::{KernelStack, MAX_TARGETS, Thread};

use crate::kernel::{
    iter::{self, TaskContext},
    registers,
};

/// Processes whose threads user space asks for.
#[map]
static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_TARGETS, 0);

/// A kernel stack that is about to be written: too large for the BPF stack.
#[map]
static KERNEL: PerCpuArray<KernelStack> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn on_task(ctx: *const TaskContext) {
    // SAFETY: the iterator's context.
    let Some((task, reader)) = (unsafe { iter::task(ctx) }) else { return };
    let owner = task.owner();
    if TARGETS.get_ptr(owner.tgid).is_none() {
        return;
    }
    if task.is_running() {
        // What it would be shown to sleep in is what it has left.
        return;
    }
    let Some(user) = registers::of(task) else { return };
    let thread = Thread { task: owner, registers: user.registers, syscall: user.syscall, argument: user.argument };
    let Some(kernel) = KERNEL.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own value, and one iterator runs at a time.
    unsafe {
        task.write_kernel_stack(kernel);
        reader.write(&thread);
        reader.write(&*kernel);
    }
}
