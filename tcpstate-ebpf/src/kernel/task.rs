//! `struct task_struct`, and what hangs on it.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_get_task_stack};
use tcpstate_common::{
    COMM_LEN,
    config::filter as set,
    event::TaskRecord,
    layout::ABSENT,
    leak::{KERNEL_FRAMES, KernelStack, THREAD_ASLEEP, THREAD_FROZEN, THREAD_RUNNING, THREAD_STOPPED, THREAD_TRACED},
};

use crate::{
    kernel::read::{Opaque, Probed, Read, Typed, fields},
    rodata::{filtering, offset},
};

/// A task. Which one is the running one only [`current`](crate::kernel::current) asks.
#[derive(Clone, Copy)]
pub(crate) struct Task<R = Typed>(*const Opaque, PhantomData<R>);

impl Task {
    /// A task whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn new(typed: *const Opaque) -> Self {
        Self(typed, PhantomData)
    }

    /// The running task.
    #[inline(always)]
    pub(super) fn current() -> Self {
        // SAFETY: the helper has no precondition, and returns a typed task.
        Self::new(unsafe { bpf_get_current_task_btf() } as *const Opaque)
    }

    /// Who it is, under its own name.
    #[inline(always)]
    pub(crate) fn owner(self) -> TaskRecord {
        TaskRecord { tgid: self.tgid(), tid: self.tid(), comm: self.comm(), start_ns: self.process_start_ns() }
    }

    /// Live threads of its process.
    #[inline(always)]
    pub(crate) fn live_threads(self) -> i32 {
        // SAFETY: pointers that the verifier knows the type of, each loaded from one.
        unsafe { Typed::load(Typed::load(self.0, offset!(task_signal)), offset!(signal_live)) }
    }

    /// What it does, one of `THREAD_*` (`include/linux/sched.h`, `include/linux/sched/jobctl.h`).
    #[inline(always)]
    pub(crate) fn doing(self) -> u32 {
        /// `__TASK_STOPPED`.
        const STOPPED: u32 = 0x4;
        /// `__TASK_TRACED`.
        const TRACED: u32 = 0x8;
        /// `TASK_FROZEN`, since Linux 6.1: by the freezer of cgroup v1, or of a suspending system.
        const FROZEN: u32 = 0x8000;
        /// `JOBCTL_TRAP_FREEZE`: by the freezer of cgroup v2.
        const TRAP_FREEZE: u64 = 1 << 23;
        // SAFETY: a typed task; the former state is a longer number, of which the lower half is enough.
        unsafe {
            let state = if offset!(task_state) != ABSENT {
                Typed::load::<u32>(self.0, offset!(task_state))
            } else if offset!(task_state_former) != ABSENT {
                Typed::load::<u32>(self.0, offset!(task_state_former))
            } else {
                return THREAD_ASLEEP;
            };
            if state == 0 {
                THREAD_RUNNING
            } else if state & STOPPED != 0 {
                THREAD_STOPPED
            } else if state & TRACED != 0 {
                THREAD_TRACED
            } else if state & FROZEN != 0 || Typed::load::<u64>(self.0, offset!(task_jobctl)) & TRAP_FREEZE != 0 {
                THREAD_FROZEN
            } else {
                THREAD_ASLEEP
            }
        }
    }

    /// When it began, nanoseconds.
    #[inline(always)]
    pub(crate) fn start_ns(self) -> u64 {
        // SAFETY: a typed task.
        unsafe { Typed::load(self.0, offset!(task_start)) }
    }

    /// Time that it has had a CPU for, nanoseconds.
    #[inline(always)]
    pub(crate) fn cpu_ns(self) -> u64 {
        // SAFETY: a typed task.
        unsafe { Typed::load(self.0, offset!(task_cpu)) }
    }

    /// Writes its kernel stack, if that is wanted.
    ///
    /// # Safety
    ///
    /// `to` has to be writable.
    #[inline(always)]
    pub(crate) unsafe fn write_kernel_stack(self, to: *mut KernelStack) {
        // SAFETY: a typed task, and the caller's promise.
        unsafe {
            (*to).len = 0;
            if filtering(set::KERNEL_STACK) {
                let bytes = (KERNEL_FRAMES * size_of::<u64>()) as u32;
                (*to).len = bpf_get_task_stack(self.0.cast_mut().cast(), (&raw mut (*to).frames).cast(), bytes, 0);
            }
        }
    }
}

impl Task<Probed> {
    /// The running task.
    #[inline(always)]
    pub(super) fn current() -> Self {
        // SAFETY: the helper has no precondition.
        Self(unsafe { bpf_get_current_task() } as *const Opaque, PhantomData)
    }
}

impl<R: Read> Task<R> {
    fields! {
        tgid: u32 = task_tgid;
        tid: u32 = task_pid;
        /// `PF_*`.
        flags: u32 = task_flags;
    }

    #[inline(always)]
    pub(super) fn pointer(self) -> *const Opaque {
        self.0
    }

    /// The first thread of its process, which bears the process's name.
    #[inline(always)]
    pub(super) fn leader(self) -> Self {
        // SAFETY: `Task` holds a pointer that `R` can read.
        Self(unsafe { R::load(self.0, offset!(task_leader)) }, PhantomData)
    }

    /// Its thread pointer; 0 where that cannot be told.
    #[inline(always)]
    pub(crate) fn thread_pointer(self) -> u64 {
        if offset!(task_thread_pointer) == ABSENT {
            return 0;
        }
        // SAFETY: `Task` holds a pointer that `R` can read.
        unsafe { R::load(self.0, offset!(task_thread_pointer)) }
    }

    /// When its process began.
    #[inline(always)]
    pub(crate) fn process_start_ns(self) -> u64 {
        // SAFETY: pointers that `R` can read, each loaded from one.
        unsafe { R::load(self.leader().0, offset!(task_start)) }
    }

    /// Its name.
    #[inline(always)]
    pub(super) fn comm(self) -> [u8; COMM_LEN] {
        // SAFETY: `Task` holds a pointer that `R` can read; a name is two words.
        padded(unsafe { [R::load(self.0, offset!(task_comm)), R::load(self.0, offset!(task_comm) + 8)] })
    }

    /// A word of its `struct mm_struct`; 0 where it has none.
    #[inline(always)]
    pub(super) fn word_of_memory(self, offset: u32) -> u64 {
        // SAFETY: pointers that `R` can read, each loaded from one.
        unsafe {
            let mm: *const Opaque = R::load(self.0, offset!(task_mm));
            if mm.is_null() { 0 } else { R::load(mm, offset) }
        }
    }

    /// The array of its descriptors, and its length.
    #[inline(always)]
    pub(super) fn descriptors(self) -> (*const Opaque, u32) {
        // SAFETY: pointers that `R` can read, each loaded from one; what a typed load cannot read is 0.
        unsafe {
            let files: *const Opaque = R::load(self.0, offset!(task_files));
            let fdt: *const Opaque = R::load(files, offset!(files_fdt));
            (R::load(fdt, offset!(fdt_fd)), R::load(fdt, offset!(fdt_max_fds)))
        }
    }
}

/// A name with nothing but zeros behind its end, so that equal names are equal bytes.
///
/// Not every kernel sees to that: `prctl(PR_SET_NAME)` leaves the rest of a longer name before (`strlcpy()` in
/// `__set_task_comm()`, 5.10), and `bpf_get_current_comm()` what was on the stack (`strscpy()`, 6.1).
#[inline(always)]
pub(super) fn padded(words: [u64; 2]) -> [u8; COMM_LEN] {
    let [first, second] = words.map(u64::from_le);
    let (first, ended) = up_to_nul(first);
    let second = if ended { 0 } else { up_to_nul(second).0 };
    // SAFETY: bytes either way.
    unsafe { core::mem::transmute::<[u64; 2], [u8; COMM_LEN]>([first.to_le(), second.to_le()]) }
}

/// The bytes before the first NUL, the lowest one, and whether there is one.
#[inline(always)]
fn up_to_nul(word: u64) -> (u64, bool) {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    // The lowest bit that this leaves is the highest one of the first NUL.
    let nuls = word.wrapping_sub(ONES) & !word & ONES << 7;
    (word & nuls.wrapping_sub(1) & !nuls, nuls != 0)
}
