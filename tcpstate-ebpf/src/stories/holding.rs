//! Sockets that somebody whom the filters want holds, whoever opened them: accepted by another process and passed on, or inherited.
//!
//! Nothing that costs little tells of a descriptor that changes hands. That a task holds it shows when the task does something with
//! the socket, and when an iterator comes by.

use tcpstate_common::{
    config::filter as set,
    event::{TaskRecord, owner_source},
};

use crate::{
    clock::now_ns,
    filters::{
        followed, owner,
        socket::{self, Unset},
    },
    kernel::{
        current,
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE, CLOSE_WAIT, FIN_WAIT1, LAST_ACK, LISTEN},
        task::Task,
    },
    rodata::filtering,
    stories::{
        listener,
        owner::KnownOwner,
        story::{SINCE_BEFORE, Story, TRACKED},
    },
};

/// A task that the filters want holds a descriptor of the socket. One that nobody is known to own becomes that task's; what happened
/// to it before is not known.
#[inline(always)]
pub(crate) fn held<R: Read>(sk: Sock<R>, holder: &TaskRecord) {
    let known = KnownOwner { owner: *holder, source: owner_source::SNAPSHOT, place: 0 };
    let state = sk.state();
    if state == CLOSE {
        return;
    }
    if state == LISTEN {
        listener::want(sk);
    }
    if let Some(story) = Story::of(sk) {
        // SAFETY: a value in the map.
        unsafe {
            (&raw mut (*story).held).write_volatile(1);
            if (*story).cookie == 0 {
                (*story).cookie = sk.cookie();
            }
            if (*story).source == owner_source::UNKNOWN {
                Story::set_owner(story, &known);
            }
            // Perhaps nobody that they want had to do with it until now.
            if Story::marks_in(state) != 0 && (*story).marks & TRACKED == 0 && socket::wants_now(sk, Unset::Fails) {
                (*story).marks |= TRACKED;
            }
        }
        return;
    }
    let socket = Identity::of(sk);
    if !socket::wants(sk, &socket, Unset::Passes) {
        return;
    }
    let mut story = Story::new(&known, sk.cookie(), now_ns(), state, socket.local.port);
    story.flags = SINCE_BEFORE;
    story.held = 1;
    story.marks = Story::marks_in(state);
    story.begin_if_absent(sk);
}

/// A task holds a descriptor of the socket, which matters if the filters want that task.
#[inline(always)]
pub(crate) fn held_by<R: Read>(sk: Sock<R>, task: Task) {
    let holder = task.owner();
    if owner::wants(&holder) {
        held(sk, &holder);
    }
}

/// The running task does something with the socket that only who holds it can do.
#[inline(always)]
pub(crate) fn used_by_current<R: Read>(sk: Sock<R>) {
    if !filtering(set::PID | set::COMM) || filtering(set::PID) && !followed::contains(current::tgid()) {
        return;
    }
    let task = current::owner();
    if owner::wants(&task) && sk.is_of_tcp() {
        held(sk, &task);
    }
}

/// Whether a transition is made by the running task, with a descriptor of the socket: it closes the socket or shuts it down, or takes a
/// FIN that came while it had the socket's lock. Who kills sockets (`tcp_abort()`, net/ipv4/tcp.c) makes none of these.
#[inline(always)]
pub(crate) fn is_made_by_holder(sk: Sock, new: u8) -> bool {
    matches!(new, FIN_WAIT1 | LAST_ACK | CLOSE_WAIT) && sk.is_owned()
}
