//! The end-of-file read: where the program was told, and did not close.

use aya_ebpf::programs::TracePointContext;
use tcpstate_common::arch::syscall::{
    IO_SUBMIT, IO_URING_ENTER, PREADV, PREADV2, READ, READV, RECVFROM, RECVMMSG, RECVMSG, SENDFILE, SPLICE, TEE,
};

use crate::{
    filters::owner,
    kernel::{
        current,
        file::socket_of_current,
        read::{Opaque, Read, load},
        sock::Sock,
        state::CLOSE_WAIT,
        syscall,
    },
    leaks::close_wait,
    rodata::offset,
    stacks::capture::{Wanted, capture_in},
    stories::{
        holding,
        story::{EOF_READ, Story, TRACKED},
    },
};

/// `MSG_PEEK` (`include/linux/socket.h`).
const MSG_PEEK: i32 = 2;

/// A receive returned `result`, of a length that the hook does not tell.
#[inline(always)]
pub(crate) fn on_receive(sk: Sock, result: i32, flags: i32) {
    on_end_of_file(sk, result, flags, asked_for_nothing);
}

/// A receive of `length` bytes returned `result`.
#[inline(always)]
pub(crate) fn on_receive_of(sk: Sock, length: u64, result: i32, flags: i32) {
    on_end_of_file(sk, result, flags, || length == 0);
}

/// `tcp_splice_read()` of a `struct socket` moved `result` of `length` bytes into a pipe.
#[inline(always)]
pub(crate) fn on_splice(socket: *const Opaque, length: u64, result: i64) {
    if result != 0 {
        return;
    }
    // SAFETY: the function's own argument, whose type the verifier knows.
    let sk = Sock::new(unsafe { load(socket, offset!(socket_sk)) });
    on_end_of_file(sk, 0, 0, || length == 0);
}

/// `splice(2)` returns to its caller.
#[inline(always)]
pub(crate) fn on_splice_syscall(ctx: &TracePointContext) {
    if syscall::result(ctx) != Some(0) {
        return;
    }
    let Some((from, length)) = current::splice() else { return };
    let Some(sk) = socket_of_current(from) else { return };
    on_end_of_file(sk, 0, 0, || length == 0);
}

/// Everything but a first 0 in CLOSE_WAIT leaves at once. A receive of no bytes returns 0 and says nothing.
#[inline(always)]
fn on_end_of_file<R: Read>(sk: Sock<R>, result: i32, flags: i32, asked_for_nothing: impl FnOnce() -> bool) {
    if result != 0 || flags & MSG_PEEK != 0 || sk.state() != CLOSE_WAIT {
        return;
    }
    holding::used_by_current(sk);
    let Some(story) = Story::of(sk) else { return };
    // SAFETY: a value in the map.
    unsafe {
        if (*story).marks & TRACKED == 0 || (*story).marks & EOF_READ != 0 || asked_for_nothing() {
            return;
        }
        (*story).marks |= EOF_READ;
        let may_look = owner::wants_code_of_current(&(*story).owner);
        let place = if may_look { capture_in(receives, Wanted::Yes) } else { 0 };
        close_wait::eof_read(story, sk.address(), place);
    }
}

/// Whether the running task's system call is a receive of no bytes.
#[inline(always)]
fn asked_for_nothing() -> bool {
    current::registers().is_some_and(|user| matches!(user.syscall, READ | RECVFROM) && user.length == 0)
}

/// Whether a system call receives.
#[inline(always)]
fn receives(call: i64) -> bool {
    matches!(
        call,
        READ | READV
            | SENDFILE
            | RECVFROM
            | RECVMSG
            | IO_SUBMIT
            | SPLICE
            | TEE
            | PREADV
            | RECVMMSG
            | PREADV2
            | IO_URING_ENTER
    )
}
