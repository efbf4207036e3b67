//! Programs that are loaded and never run: whether the kernel accepts one tells whether it has the helper that it calls.

use aya_ebpf::{
    helpers::generated::{
        bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

use crate::kernel::iter::{self, TaskFileContext};

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn trial_socket_cookie(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a typed socket.
    unsafe { bpf_get_socket_cookie(ctx.arg(0)) };
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn trial_task_registers(_ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the running task.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn trial_read_kernel(ctx: BtfTracePointContext) -> i32 {
    let mut word = 0u64;
    // SAFETY: the helper fails on a bad address.
    unsafe { bpf_probe_read_kernel((&raw mut word).cast(), size_of::<u64>() as u32, ctx.arg(0)) };
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn trial_read_user(ctx: BtfTracePointContext) -> i32 {
    let mut word = 0u64;
    // SAFETY: the helper fails on a bad address.
    unsafe { bpf_probe_read_user((&raw mut word).cast(), size_of::<u64>() as u32, ctx.arg(0)) };
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn trial_socket_from_file(ctx: *const TaskFileContext) -> i32 {
    // With what is done to the socket then: some builds of 6.18 take `socket->sk` for a pointer that no helper may be given.
    // SAFETY: the iterator's context.
    if let Some(sk) = unsafe { iter::descriptor(ctx) }.and_then(|descriptor| descriptor.file.socket()) {
        sk.tcp();
    }
    0
}
