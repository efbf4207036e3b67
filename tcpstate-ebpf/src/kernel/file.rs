//! Exits of system calls, which know descriptors only: from there to the socket.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf},
    programs::TracePointContext,
};
use tcpstate_common::{
    helper,
    state::{AF_INET, AF_INET6},
};

use crate::{
    Opaque,
    kernel::sock::{Probed, Read, Sock, Typed},
    rodata::{has, offset},
};

/// The socket of any family behind a descriptor of the running task.
#[inline(always)]
pub(crate) fn socket_of(fd: u64) -> Option<Sock<Probed>> {
    // SAFETY: the helpers have no precondition; the task is typed where `Typed` reads it. A helper that reads 0 from a bad address
    // reads what has no type.
    unsafe {
        let (array, len) = if has(helper::TASK_REGISTERS) {
            descriptors::<Typed>(bpf_get_current_task_btf() as *const Opaque)
        } else {
            descriptors::<Probed>(bpf_get_current_task() as *const Opaque)
        };
        if fd >= u64::from(len) {
            return None;
        }
        let file: *const Opaque = Probed::load(array.wrapping_byte_add(fd as usize * size_of::<u64>()), 0);
        let socket: *const Opaque = Probed::load(file, offset!(file_private_data));
        // Other files have other private data; only a socket points back.
        let back: *const Opaque = Probed::load(socket, offset!(socket_file));
        if file.is_null() || back != file {
            return None;
        }
        Some(Sock::at(Probed::load(socket, offset!(socket_sk))))
    }
}

/// The array of a task's descriptors, and its length.
///
/// # Safety
///
/// `task` has to be a `struct task_struct` that `R` can read.
#[inline(always)]
unsafe fn descriptors<R: Read>(task: *const Opaque) -> (*const Opaque, u32) {
    // SAFETY: the caller's promise; what a typed load cannot read is 0.
    unsafe {
        let files: *const Opaque = R::load(task, offset!(task_files));
        let fdt: *const Opaque = R::load(files, offset!(files_fdt));
        (R::load(fdt, offset!(fdt_fd)), R::load(fdt, offset!(fdt_max_fds)))
    }
}

/// What a system call returns, at its `syscalls:sys_exit_*` tracepoint.
#[inline(always)]
pub(crate) fn syscall_result(ctx: &TracePointContext) -> Option<i64> {
    /// Of `ret` in the record (`struct syscall_trace_exit`, kernel/trace/trace.h).
    const RET: usize = 16;
    // SAFETY: the record of the tracepoint.
    unsafe { ctx.read_at(RET) }.ok()
}

/// Whether a socket is one that is traced, where all sockets of a process come along.
#[inline(always)]
pub(crate) fn is_of_tcp<R: Read>(sk: Sock<R>) -> bool {
    matches!(sk.family(), AF_INET | AF_INET6) && sk.is_tcp()
}
