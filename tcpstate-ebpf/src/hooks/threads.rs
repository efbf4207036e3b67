//! What the threads of leaking processes do now, and where they sleep: registers only, user space reads the stacks.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tcpstate_common::leak::{KernelStack, MAX_TARGETS, Registers, THREAD_RUNNING, Thread};

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
    let state = task.doing();
    // What a running thread would be shown to sleep in is what it has left.
    let user = if state == THREAD_RUNNING { None } else { registers::of(task) };
    if user.is_none() && state != THREAD_RUNNING {
        return;
    }
    let shows_place = user.is_some();
    let (registers, syscall, argument) = match user {
        Some(user) => (user.registers, user.syscall, user.argument),
        None => (Registers::NONE, -1, 0),
    };
    let (start_ns, cpu_ns) = (task.start_ns(), task.cpu_ns());
    let thread_pointer = task.thread_pointer();
    let thread = Thread { task: owner, registers, syscall, argument, start_ns, cpu_ns, thread_pointer, state, pad: 0 };
    let Some(kernel) = KERNEL.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own value, and one iterator runs at a time.
    unsafe {
        (*kernel).len = 0;
        if shows_place {
            task.write_kernel_stack(kernel);
        }
        reader.write(&thread);
        reader.write(&*kernel);
    }
}
