//! `accept()`: the only place where a passive socket meets its process.

use aya_ebpf::{EbpfContext, helpers::bpf_get_current_task, programs::TracePointContext};
use aya_log_ebpf::debug;
use tcpstate_common::{
    config::filter,
    event::owner_source,
    state::{AF_INET, AF_INET6},
};

use crate::{
    Opaque,
    clock::now_ns,
    config::{filtering, offset},
    leak,
    maps::SOCKETS,
    owner,
    sock::{Probed, Read, Sock},
    stack,
    story::{KnownOwner, SINCE_BEFORE, Story, TRACKED},
};

/// `inet_csk_accept()` returned a socket, or null. Only its address may be known.
#[inline(always)]
pub(crate) fn on_return<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>) {
    if sk.address() != 0 {
        accepted(ctx, sk);
    }
}

/// `accept(2)` or `accept4(2)` returns to its caller: from the descriptor to the socket.
#[inline(always)]
pub(crate) fn on_syscall_exit(ctx: &TracePointContext) {
    /// Of `ret` in every `syscalls:sys_exit_*` record (`struct syscall_trace_exit`, kernel/trace/trace.h).
    const RET: usize = 16;
    // SAFETY: the record of the tracepoint.
    let Ok(fd) = (unsafe { ctx.read_at::<i64>(RET) }) else { return };
    if fd < 0 {
        return;
    }
    let Some(sk) = socket_of(fd as u64) else { return };
    if !is_told(sk) {
        accepted(ctx, sk);
    }
}

/// A socket that `accept()` returns is given its `struct socket` (`sock_graft()`, `include/net/sock.h`).
#[inline(always)]
pub(crate) fn on_graft(ctx: &impl EbpfContext, sk: Sock) {
    if is_of_tcp(sk) && !is_told(sk) {
        accepted(ctx, sk);
    }
}

/// The caller's other sockets go through `accept()` as well.
#[inline(always)]
fn is_of_tcp<R: Read>(sk: Sock<R>) -> bool {
    matches!(sk.family(), AF_INET | AF_INET6) && sk.is_tcp()
}

/// A socket is accepted once: where another hook has told of it, there is nothing more to say.
#[inline(always)]
fn is_told<R: Read>(sk: Sock<R>) -> bool {
    // SAFETY: a value in the map.
    SOCKETS.get_ptr(sk.address()).is_some_and(|story| unsafe { (*story).source == owner_source::ACCEPT })
}

/// The TCP socket behind a descriptor of the running task.
#[inline(always)]
fn socket_of(fd: u64) -> Option<Sock<Probed>> {
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
        let sk = Sock::at(Probed::load(socket, offset!(socket_sk)));
        is_of_tcp(sk).then_some(sk)
    }
}

/// Gives the socket to the running task.
#[inline(always)]
fn accepted<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>) {
    let key = sk.address();
    if filtering(filter::PID) && SOCKETS.get_ptr(key).is_none() && !owner::followed(owner::process()) {
        return;
    }
    let place = if filtering(filter::LEAKS) { stack::capture() } else { 0 };
    let known = KnownOwner { owner: owner::current(), source: owner_source::ACCEPT, place };
    if let Some(story) = SOCKETS.get_ptr_mut(key) {
        // SAFETY: a value in the map.
        unsafe {
            Story::set_owner(story, &known);
            if filtering(filter::LEAKS) && (*story).marks & TRACKED != 0 {
                leak::accepted(story, key);
            }
        }
        return;
    }
    // No story: its listener is not followed, it is an MPTCP parent, or the map was full.
    if !owner::wanted(&known.owner) {
        return;
    }
    let cookie = sk.cookie();
    debug!(ctx, "socket {}: its story begins at accept", cookie);
    let mut story = Story::new(&known, cookie, now_ns(), sk.state(), sk.local(sk.family()).port);
    story.flags = SINCE_BEFORE;
    story.begin_if_absent(key);
}
