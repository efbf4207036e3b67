//! `accept()`: the only place where a passive socket meets its process.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    programs::TracePointContext,
};
use aya_log_ebpf::debug;
use tcpstate_common::{
    config::filter,
    event::owner_source,
    state::{AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP},
};

use crate::{
    Opaque,
    clock::now_ns,
    config::{filtering, offset},
    leak,
    maps::SOCKETS,
    owner,
    sock::Sock,
    stack,
    story::{KnownOwner, SINCE_BEFORE, Story, TRACKED},
};

/// What a story needs that begins at `accept()`.
struct Accepted {
    cookie: u64,
    state: u8,
    local_port: u16,
}

/// `inet_csk_accept()` returned a socket of known type, or null.
#[inline(always)]
pub(crate) fn on_typed(ctx: &impl EbpfContext, sk: *const Opaque) {
    if sk.is_null() {
        return;
    }
    let sk = Sock::new(sk);
    accepted(ctx, sk.address(), || {
        Some(Accepted { cookie: sk.cookie(), state: sk.state(), local_port: sk.local(sk.family()).port })
    });
}

/// `inet_csk_accept()` returned an address.
#[inline(always)]
pub(crate) fn on_untyped(ctx: &impl EbpfContext, sk: *const Opaque) {
    if !sk.is_null() {
        accepted(ctx, sk as u64, || probe(sk));
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
    if let Some(sk) = socket_of(fd as u64) {
        on_untyped(ctx, sk);
    }
}

/// The `struct sock` behind a descriptor of the running task.
#[inline(always)]
fn socket_of(fd: u64) -> Option<*const Opaque> {
    // SAFETY: the running task; every further pointer is read with a helper that fails on a bad address.
    unsafe {
        let task = bpf_get_current_task() as *const Opaque;
        let fdt = pointer(pointer(task, offset!(task_files))?, offset!(files_fdt))?;
        if fd >= u64::from(read::<u32>(fdt, offset!(fdt_max_fds))?) {
            return None;
        }
        let files = pointer(fdt, offset!(fdt_fd))?;
        let file = pointer(files.byte_add(fd as usize * size_of::<u64>()), 0)?;
        let sk = pointer(pointer(file, offset!(file_private_data))?, offset!(socket_sk))?;
        // The caller's other sockets go through accept() as well.
        let family = read::<u16>(sk, offset!(skc_family))?;
        let protocol = read::<u16>(sk, offset!(sk_protocol))?;
        (matches!(family, AF_INET | AF_INET6) && matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP)).then_some(sk)
    }
}

#[inline(always)]
fn probe(sk: *const Opaque) -> Option<Accepted> {
    // SAFETY: read with a helper that fails on a bad address.
    unsafe {
        Some(Accepted {
            cookie: read(sk, offset!(skc_cookie))?,
            state: read(sk, offset!(skc_state))?,
            local_port: read(sk, offset!(skc_num))?,
        })
    }
}

/// Gives the socket to the running task.
#[inline(always)]
fn accepted(ctx: &impl EbpfContext, key: u64, details: impl FnOnce() -> Option<Accepted>) {
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
    let Some(Accepted { cookie, state, local_port }) = details() else { return };
    debug!(ctx, "socket {}: its story begins at accept", cookie);
    let now = now_ns();
    let mut story = Story::new(&known, cookie, now, state, local_port);
    story.flags = SINCE_BEFORE;
    story.begin_if_absent(key);
}

#[inline(always)]
unsafe fn read<T>(base: *const Opaque, offset: u32) -> Option<T> {
    // SAFETY: the helper fails on a bad address.
    unsafe { bpf_probe_read_kernel(base.byte_add(offset as usize).cast::<T>()).ok() }
}

#[inline(always)]
unsafe fn pointer(base: *const Opaque, offset: u32) -> Option<*const Opaque> {
    // SAFETY: the helper fails on a bad address.
    let pointer: *const Opaque = unsafe { read(base, offset) }?;
    (!pointer.is_null()).then_some(pointer)
}
