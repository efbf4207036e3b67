//! `struct pt_regs`: the registers with which a task entered the kernel.

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use tcpstate_common::{arch, helper, layout::ABSENT, leak::Registers};

use crate::{
    kernel::{
        read::{Opaque, Probed, Read, Typed, load},
        task::Task,
    },
    rodata::{has, offset},
};

/// User registers of a task.
pub(crate) struct UserRegisters {
    pub(crate) registers: Registers,
    /// Whether they are those of the kernel's own instruction set, and so is the number of the system call.
    pub(crate) is_native: bool,
    pub(crate) syscall: i64,
    /// First argument of the system call.
    pub(crate) argument: u64,
    /// Third argument of the system call.
    pub(crate) length: u64,
}

/// The registers of a task; `None` for kernel threads, and where there is no way to them.
#[inline(always)]
pub(crate) fn of<R: Read>(task: Task<R>) -> Option<UserRegisters> {
    if offset!(regs_ip) == ABSENT {
        return None;
    }
    if R::TYPED && has(helper::TASK_REGISTERS) {
        let regs = typed(task);
        // SAFETY: the helper's result is a typed `struct pt_regs`.
        return if regs.is_null() { None } else { unsafe { read::<Typed>(regs) } };
    }
    if !has(helper::READ_KERNEL) || offset!(task_stack) == ABSENT {
        return None;
    }
    // At the top of the stack. Since 6.9 not quite on x86-64 (FRED), but kernels that new have the helper.
    // SAFETY: a helper reads 0 from a bad address.
    unsafe {
        let stack: u64 = Probed::load(task.pointer(), offset!(task_stack));
        let length = u64::from(offset!(regs_last)) + size_of::<u64>() as u64;
        read::<Probed>((stack + arch::KERNEL_STACK - length) as *const Opaque)
    }
}

/// First and fifth argument of the system call that a task is in: of `splice()` the descriptor that is read, and the length.
#[inline(always)]
pub(super) fn splice_of(task: Task) -> Option<(u64, u64)> {
    if offset!(regs_argument_5) == ABSENT {
        return None;
    }
    let regs = typed(task);
    // SAFETY: the helper's result is a typed `struct pt_regs`.
    (!regs.is_null()).then(|| unsafe { (load(regs, offset!(regs_argument_1)), load(regs, offset!(regs_argument_5))) })
}

#[inline(always)]
fn typed<R: Read>(task: Task<R>) -> *const Opaque {
    // SAFETY: the helper takes any typed task.
    unsafe { bpf_task_pt_regs(task.pointer().cast_mut().cast()) as *const Opaque }
}

/// The registers in a `struct pt_regs`, if they are those of user mode.
///
/// # Safety
///
/// `regs` has to be a pointer that `R` can read.
#[inline(always)]
unsafe fn read<R: Read>(regs: *const Opaque) -> Option<UserRegisters> {
    // SAFETY: the caller's promise.
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
