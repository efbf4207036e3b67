//! BPF programs of tcpstate: entry points, licence and panic handler.
//!
//! What happens goes down through the modules: a hook in `hooks` asks `filters` whether it is wanted, has the socket's story in `stories`
//! go on and, where that matters, takes the place of the caller in `stacks`; `leaks` decides what a hunt is told, and `records` writes it
//! for user space. `kernel` reads the kernel's memory. No module names one above it, and each map is in the file that it belongs to.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod armed;
mod atomic;
mod branchless;
mod clock;
mod counters;
mod filters;
mod hooks;
mod kernel;
mod leaks;
mod records;
mod rodata;
mod stacks;
mod stories;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kretprobe, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, RetProbeContext, TracePointContext},
};

use crate::{
    hooks::{accept, destroy, holding, inheriting, leaking, nested, opening, process, receive, threads, transition},
    kernel::{
        iter::{TaskContext, TaskFileContext, TcpContext},
        sock::Sock,
        task::Task,
    },
};

/// Every TCP transition (`inet_sk_set_state()`, `net/ipv4/af_inet.c`).
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    nested::enter(&ctx);
    transition::on_transition(&ctx);
    0
}

/// The same tracepoint once more, for transitions that interrupt the program above.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state_nested(ctx: BtfTracePointContext) -> i32 {
    if nested::interrupts(&ctx) {
        nested::hand_over(&ctx);
    }
    0
}

/// The end of a socket (`tcp_v4_destroy_sock()`, `net/ipv4/tcp_ipv4.c`).
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    destroy::on_destroy(Sock::new(ctx.arg(0)));
    0
}

/// A new process of a followed one.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    process::on_fork(Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
    0
}

/// A process executes another program.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(_ctx: BtfTracePointContext) -> i32 {
    process::on_exec();
    0
}

/// The end of a process.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    process::on_exit(Task::new(ctx.arg(0)));
    0
}

/// `inet_csk_accept(sk, flags, err, kern)`, up to 6.9: its result is argument 4.
#[fexit(function = "inet_csk_accept")]
fn accept_fexit_args4(ctx: FExitContext) -> i32 {
    accept::on_return(&ctx, Sock::new(ctx.arg(4)));
    0
}

/// `inet_csk_accept(sk, arg)`, from 6.10 on: its result is argument 2.
#[fexit(function = "inet_csk_accept")]
fn accept_fexit_args2(ctx: FExitContext) -> i32 {
    accept::on_return(&ctx, Sock::new(ctx.arg(2)));
    0
}

/// `inet_csk_accept()` where trampolines are missing.
#[kretprobe]
fn accept_kretprobe(ctx: RetProbeContext) -> u32 {
    accept::on_return(&ctx, Sock::at(ctx.ret()));
    0
}

/// `security_sock_graft(sk, parent)`: the end of an `accept()` that began before the programs above were attached. Not in their
/// place: a kernel optimized as a whole may have another copy of it inlined.
#[fentry(function = "security_sock_graft")]
fn accept_graft(ctx: FEntryContext) -> i32 {
    accept::accepted_unless_told(&ctx, Sock::new(ctx.arg(0)));
    0
}

/// `accept(2)` and `accept4(2)` where kprobes are missing, too.
#[tracepoint]
fn accept_syscall(ctx: TracePointContext) -> u32 {
    accept::on_syscall_exit(&ctx);
    0
}

/// Requests of `io_uring`, which make no system calls of their own, at the same.
#[tracepoint]
fn accept_ring(ctx: TracePointContext) -> u32 {
    accept::on_ring_completion(&ctx);
    0
}

/// A receive that returned (`sock_recvmsg()`, net/socket.c, from 6.3 on).
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    receive::on_receive(Sock::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    0
}

/// `tcp_recvmsg(sk, msg, len, nonblock, flags, addr_len)`, up to 5.18: its result is argument 6.
#[fexit(function = "tcp_recvmsg")]
fn receive_fexit_args6(ctx: FExitContext) -> i32 {
    receive::on_receive_of(Sock::new(ctx.arg(0)), ctx.arg(2), ctx.arg(6), ctx.arg(4));
    0
}

/// `tcp_recvmsg(sk, msg, len, flags, addr_len)`, from 5.19 on: its result is argument 5.
#[fexit(function = "tcp_recvmsg")]
fn receive_fexit_args5(ctx: FExitContext) -> i32 {
    receive::on_receive_of(Sock::new(ctx.arg(0)), ctx.arg(2), ctx.arg(5), ctx.arg(3));
    0
}

/// `tcp_recvmsg(sk, msg, len, flags)`, seen from 6.18 on: its result is argument 4.
#[fexit(function = "tcp_recvmsg")]
fn receive_fexit_args4(ctx: FExitContext) -> i32 {
    receive::on_receive_of(Sock::new(ctx.arg(0)), ctx.arg(2), ctx.arg(4), ctx.arg(3));
    0
}

/// `tcp_splice_read(sock, ppos, pipe, len, flags)`: its result is argument 5.
#[fexit(function = "tcp_splice_read")]
fn splice_fexit(ctx: FExitContext) -> i32 {
    receive::on_splice(ctx.arg(0), ctx.arg(3), ctx.arg(5));
    0
}

/// `splice(2)` where trampolines are missing.
#[tracepoint]
fn splice_syscall(ctx: TracePointContext) -> u32 {
    receive::on_splice_syscall(&ctx);
    0
}

/// Sockets with a descriptor, of every process and network namespace.
///
/// aya has no macro for iterators; the section's name is what the loader goes by.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn snapshot_files(ctx: *const TaskFileContext) -> i32 {
    opening::on_file(ctx);
    0
}

/// Sockets of one network namespace, also those without a descriptor.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn snapshot_tcp(ctx: *const TcpContext) -> i32 {
    opening::on_tcp(ctx);
    0
}

/// Descriptors of listeners, of every process and network namespace.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn inherited_files(ctx: *const TaskFileContext) -> i32 {
    inheriting::on_file(ctx);
    0
}

/// Descriptors of the tasks that the filters want.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn held_files(ctx: *const TaskFileContext) -> i32 {
    holding::on_file(ctx);
    0
}

/// Descriptors of leaking sockets, of every process and network namespace.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn leaking_files(ctx: *const TaskFileContext) -> i32 {
    leaking::on_file(ctx);
    0
}

/// Leaking sockets of one network namespace that have no descriptor, and listeners with a backlog.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn leaking_tcp(ctx: *const TcpContext) -> i32 {
    leaking::on_tcp(ctx);
    0
}

/// Threads of the processes that leak.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn leaking_threads(ctx: *const TaskContext) -> i32 {
    threads::on_task(ctx);
    0
}

/// GPL-only helpers (`bpf_get_current_comm`, `bpf_probe_read_kernel`, …) want a GPL-compatible object.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program that could get here.
    loop {}
}
