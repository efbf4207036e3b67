//! Transitions that no program was run for, as far as what comes after them shows it.
//!
//! A tracer sees what the kernel runs its programs for. Where it runs none, stories stop in a state that their sockets have left. The
//! next transition of such a socket leaves another state, or its end comes in one that no socket ends in: all of them end in CLOSE
//! (`inet_csk_destroy_sock()`, `net/ipv4/inet_connection_sock.c`, Linux 6.18). Where its end is not seen either, the next socket at
//! its address finds the story still there.

use tcpstate_common::config::filter as set;

use crate::{
    armed::is_armed,
    counters::count,
    kernel::state::CLOSE,
    rodata::filtering,
    stories::story::{SINCE_BEFORE, SKIPPED, Story},
};

/// The socket is not in the state that its story has come to: at least one transition was not seen.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn skipped(story: *mut Story) {
    // Stories skip what leak hunting by itself does not ask for.
    if !filtering(set::LEAKS) || filtering(set::TRANSITIONS) {
        // SAFETY: the caller's promise.
        unsafe { count_skipped(story) }
    }
}

/// The socket of this story is gone.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn over(story: *mut Story) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*story).state != CLOSE {
            skipped(story);
        }
    }
}

/// # Safety
///
/// `story` has to be a value in the map.
#[inline(never)]
unsafe fn count_skipped(story: *mut Story) {
    // SAFETY: the caller's promise.
    let (flags, marks) = unsafe { ((*story).flags, (*story).marks) };
    // What the opening snapshot found may have changed before it was written down.
    if !is_armed() || flags & SINCE_BEFORE != 0 {
        return;
    }
    count!(unseen);
    if marks & SKIPPED == 0 {
        // SAFETY: the caller's promise.
        unsafe { (*story).marks = marks | SKIPPED }
        count!(unseen_sockets);
    }
}
