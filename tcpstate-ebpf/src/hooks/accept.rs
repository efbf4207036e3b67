//! `accept()`: the only place where a passive socket meets its process.

use aya_ebpf::{EbpfContext, programs::TracePointContext};
use aya_log_ebpf::debug;
use tcpstate_common::{
    arch::syscall::{ACCEPT, ACCEPT4, IO_URING_ENTER},
    config::filter,
    event::owner_source,
};

use crate::{
    clock::now_ns,
    filters::{followed, owner},
    kernel::{current, file::socket_of_current, read::Read, sock::Sock, syscall},
    leaks::close_wait,
    rodata::filtering,
    stacks::capture::capture_in,
    stories::{
        owner::KnownOwner,
        story::{SINCE_BEFORE, Story, TRACKED},
    },
};

/// `inet_csk_accept()` returned a socket, or null. Only its address may be known.
#[inline(always)]
pub(crate) fn on_return<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>) {
    if sk.address() == 0 {
        return;
    }
    let story = Story::of(sk.address());
    // DCCP accepts by the same function, up to 6.15, and nothing would tell of the end of its sockets.
    if story.is_some() || sk.is_of_tcp() {
        accepted(ctx, sk, story);
    }
}

/// `accept(2)` or `accept4(2)` returns to its caller: from the descriptor to the socket.
#[inline(always)]
pub(crate) fn on_syscall_exit(ctx: &TracePointContext) {
    let Some(fd) = syscall::result(ctx) else { return };
    if fd < 0 {
        return;
    }
    let Some(sk) = socket_of_current(fd as u64) else { return };
    accepted_unless_told(ctx, sk);
}

/// `accept()` may have returned this socket, of whatever family. One is accepted once: where another hook has told of it, there is
/// nothing more to say. What has a story is of TCP.
#[inline(always)]
pub(crate) fn accepted_unless_told<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>) {
    let story = Story::of(sk.address());
    // SAFETY: a value in the map.
    if story.map_or_else(|| sk.is_of_tcp(), |story| unsafe { (*story).source != owner_source::ACCEPT }) {
        accepted(ctx, sk, story);
    }
}

/// Gives the socket to the running task.
#[inline(always)]
fn accepted<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>, story: Option<*mut Story>) {
    let key = sk.address();
    if filtering(filter::PID) && story.is_none() && !followed::contains(current::tgid()) {
        return;
    }
    let place = if filtering(filter::LEAKS) { capture_in(accepts) } else { 0 };
    let known = KnownOwner { owner: current::owner(), source: owner_source::ACCEPT, place };
    if let Some(story) = story {
        // SAFETY: a value in the map.
        unsafe {
            Story::set_owner(story, &known);
            if filtering(filter::LEAKS) && (*story).marks & TRACKED != 0 {
                close_wait::accepted(story, key);
            }
        }
        return;
    }
    // No story: its listener is not followed, it is an MPTCP parent, or the map was full.
    if !owner::wants(&known.owner) {
        return;
    }
    let cookie = sk.cookie();
    debug!(ctx, "socket {}: its story begins at accept", cookie);
    let mut story = Story::new(&known, cookie, now_ns(), sk.state(), sk.local(sk.family()).port);
    story.flags = SINCE_BEFORE;
    story.begin_if_absent(key);
}

/// Whether a system call accepts.
#[inline(always)]
fn accepts(call: i64) -> bool {
    matches!(call, ACCEPT | ACCEPT4 | IO_URING_ENTER)
}
