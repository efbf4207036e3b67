//! Exits of system calls, which know descriptors only: from there to the socket.

use aya_ebpf::{helpers::bpf_get_current_task, programs::TracePointContext};
use tcpstate_common::state::{AF_INET, AF_INET6};

use crate::{
    Opaque,
    config::offset,
    sock::{Probed, Read, Sock},
};

/// The TCP socket behind a descriptor of the running task.
#[inline(always)]
pub(crate) fn socket_of(fd: u64) -> Option<Sock<Probed>> {
    // SAFETY: the running task; a helper that reads 0 from a bad address reads every further pointer.
    unsafe {
        let task = bpf_get_current_task() as *const Opaque;
        let files: *const Opaque = Probed::load(task, offset!(task_files));
        let fdt: *const Opaque = Probed::load(files, offset!(files_fdt));
        if fd >= u64::from(Probed::load::<u32>(fdt, offset!(fdt_max_fds))) {
            return None;
        }
        let array: *const Opaque = Probed::load(fdt, offset!(fdt_fd));
        let file: *const Opaque = Probed::load(array.wrapping_byte_add(fd as usize * size_of::<u64>()), 0);
        let socket: *const Opaque = Probed::load(file, offset!(file_private_data));
        // Other files have other private data; only a socket points back.
        let back: *const Opaque = Probed::load(socket, offset!(socket_file));
        if file.is_null() || back != file {
            return None;
        }
        let sk = Sock::at(Probed::load(socket, offset!(socket_sk)));
        is_of_tcp(sk).then_some(sk)
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
