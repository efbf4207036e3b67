//! Who closes a socket, as far as that is a task: `tcp_close()` (net/ipv4/tcp.c) holds the socket's lock while it works, and what
//! arrives in softirq meanwhile waits until the task itself deals with it. What a softirq does holds no such lock.
//!
//! Nothing but an exit closes what is closed by a task that exits: `do_exit()` (kernel/exit.c, Linux 6.18) drops the process's files after `PF_EXITING` is set and runs what that defers
//! (`exit_task_work()`) still as the same task.

use tcpstate_common::leak::{Closing, FOUND_EOF_READ, FOUND_SINCE, KIND_CLOSING};

use crate::{
    clock::now_ns,
    hooks::{
        leaking::fill_load,
        transition::{Known, Seen, fill_socket},
    },
    kernel::{
        current,
        sock::{Identity, Sock},
        state::CLOSE,
    },
    leaks::close_wait::beside,
    stacks::capture::capture,
    stories::{
        owner::KnownOwner,
        story::{EOF_READ, EXITED, Story},
    },
};

/// It leaves CLOSE_WAIT.
#[inline(never)]
pub(crate) fn on_transition(seen: &Seen, known: &Known) {
    let key = seen.sk.address();
    let exiting = current::is_exiting();
    if exiting {
        Story::mark(key, EXITED);
    }
    let place = capture();
    let (mut since_ns, mut flags) = (0, 0);
    if known.flags == 0 {
        since_ns = seen.now.saturating_sub(known.in_old_ns);
        flags |= FOUND_SINCE;
    }
    if let Some(story) = Story::of(key) {
        // SAFETY: a value in the map.
        flags |= if unsafe { (*story).marks } & EOF_READ != 0 { FOUND_EOF_READ } else { 0 };
    }
    beside(|closing: *mut Closing| {
        // SAFETY: an entry of the ring buffer.
        unsafe {
            let record = &raw mut (*closing).found.socket;
            (*record).old_state = seen.old;
            (*record).new_state = seen.new;
            (*record).flags = flags;
            (*record).ts_ns = seen.now;
            (*record).in_old_ns = since_ns;
            (*record).cookie = known.cookie;
            fill_socket(record, seen.sk, &seen.socket);
            fill(closing, seen.sk, &known.owner);
            (*closing).place = place;
            (*closing).exiting = u32::from(exiting);
            sign(closing);
        }
    });
}

/// Its last descriptor goes, after it has left CLOSE_WAIT otherwise.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn on_destroy(sk: Sock, story: *const Story) {
    let mut socket = Identity::of(sk);
    let exiting = current::is_exiting();
    let place = capture();
    let mut owner = KnownOwner::UNKNOWN;
    // SAFETY: the caller's promise.
    unsafe { Story::known_owner(story, &mut owner) };
    beside(|closing: *mut Closing| {
        // SAFETY: an entry of the ring buffer; the story is the caller's promise.
        unsafe {
            if socket.local.port == 0 {
                socket.local.port = (*story).local_port;
            }
            let record = &raw mut (*closing).found.socket;
            (*record).old_state = (*story).state;
            (*record).new_state = CLOSE;
            (*record).flags = if (*story).marks & EOF_READ != 0 { FOUND_EOF_READ } else { 0 };
            (*record).ts_ns = now_ns();
            (*record).in_old_ns = 0;
            (*record).cookie = (*story).cookie;
            fill_socket(record, sk, &socket);
            fill(closing, sk, &owner);
            (*closing).place = place;
            (*closing).exiting = u32::from(exiting);
            sign(closing);
        }
    });
}

/// Writes who closes, last: the call leaves little room for what is still to be written.
///
/// # Safety
///
/// `closing` has to be writable.
#[inline(always)]
unsafe fn sign(closing: *mut Closing) {
    // SAFETY: the caller's promise.
    unsafe {
        // Threads end in any order. What closes is the process.
        current::write_process(&raw mut (*closing).by);
        (*closing).found.holder_tgid = (*closing).by.tgid;
    }
}

/// Writes what does not depend on how the socket ends.
///
/// # Safety
///
/// `closing` has to be writable.
#[inline(always)]
unsafe fn fill(closing: *mut Closing, sk: Sock, owner: &KnownOwner) {
    // SAFETY: the caller's promise.
    unsafe {
        let found = &raw mut (*closing).found;
        (*found).socket.kind = KIND_CLOSING;
        (*found).socket.owner_source = owner.source;
        (*found).socket.owner = owner.owner;
        (*found).place = owner.place;
        (*found).holder_fd = 0;
        fill_load(found, sk, CLOSE);
        (*closing).pad = 0;
    }
}
