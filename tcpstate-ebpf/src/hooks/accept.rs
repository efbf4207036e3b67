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
    filters::{
        followed, owner,
        socket::{self, Unset},
    },
    kernel::{
        current,
        file::socket_of_current,
        read::Read,
        ring::Completion,
        sock::Sock,
        state::{CLOSE_WAIT, LISTEN},
        syscall,
    },
    leaks::close_wait,
    rodata::filtering,
    stacks::capture::{Wanted, capture_in},
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
    let story = Story::of(sk);
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

/// `io_uring` has completed a request in the context of the task that made it, or of a thread of its own in that process.
#[inline(always)]
pub(crate) fn on_ring_completion(ctx: &TracePointContext) {
    let Some(completion) = Completion::of(ctx) else { return };
    let Some(sk) = socket_of_current(completion.fd) else { return };
    let story = Story::of(sk);
    let is_new = match story {
        // Its listener's own number may come, too.
        // SAFETY: a value in the map.
        Some(story) => sk.state() != LISTEN && unsafe { (*story).source == owner_source::LISTEN },
        None => completion.is_accept && sk.is_of_tcp(),
    };
    if is_new {
        accepted(ctx, sk, story);
    }
}

/// `accept()` may have returned this socket, of whatever family. One is accepted once: where another hook has told of it, there is
/// nothing more to say. What has a story is of TCP.
#[inline(always)]
pub(crate) fn accepted_unless_told<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>) {
    let story = Story::of(sk);
    // SAFETY: a value in the map.
    if story.map_or_else(|| sk.is_of_tcp(), |story| unsafe { (*story).source != owner_source::ACCEPT }) {
        accepted(ctx, sk, story);
    }
}

/// Gives the socket to the running task.
#[inline(always)]
fn accepted<R: Read>(ctx: &impl EbpfContext, sk: Sock<R>, story: Option<*mut Story>) {
    // Before a stack is taken: of what the filters reject nothing is.
    if story.is_none()
        && (filtering(filter::PID) && !followed::contains(current::tgid()) || !socket::wants_now(sk, Unset::Passes))
    {
        return;
    }
    let place = if filtering(filter::LEAKS) && may_look(sk) { capture_in(accepts, Wanted::Yes) } else { 0 };
    let known = KnownOwner { owner: current::owner(), source: owner_source::ACCEPT, place };
    if let Some(story) = story {
        // SAFETY: a value in the map.
        unsafe {
            Story::set_owner(story, &known);
            if filtering(filter::LEAKS) {
                if sk.state() == CLOSE_WAIT && owner::wants(&known.owner) && socket::wants_now(sk, Unset::Fails) {
                    // Perhaps nobody that they want had to do with it until now.
                    (*story).marks |= TRACKED;
                }
                if (*story).marks & TRACKED != 0 {
                    close_wait::accepted(story, sk.address());
                }
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
    story.begin_if_absent(sk);
}

/// Whether the filters let the code be looked at that accepts this socket, which has both ends by now.
#[inline(always)]
fn may_look<R: Read>(sk: Sock<R>) -> bool {
    owner::wants_current() && socket::wants_now(sk, Unset::Fails)
}

/// Whether a system call accepts.
#[inline(always)]
fn accepts(call: i64) -> bool {
    matches!(call, ACCEPT | ACCEPT4 | IO_URING_ENTER)
}
