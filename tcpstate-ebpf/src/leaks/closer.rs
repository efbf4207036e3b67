//! Who closes a socket, as far as that is a task: `tcp_close()` (net/ipv4/tcp.c) holds the socket's lock while it works, and what
//! arrives in softirq meanwhile waits until the task itself deals with it. What a softirq does holds no such lock.
//!
//! Nothing but an exit closes what is closed by a task that exits: `do_exit()` (kernel/exit.c, Linux 6.18) drops the process's files after
//! `PF_EXITING` is set and runs what that defers (`exit_task_work()`) still as the same task.

use tcpstate_common::leak::{FOUND_EOF_READ, FOUND_SINCE};

use crate::{
    clock::now_ns,
    filters::owner,
    kernel::{
        current,
        sock::{Identity, Sock},
        state::CLOSE,
    },
    records::closing,
    stacks::capture::{Wanted, capture},
    stories::{
        owner::KnownOwner,
        progress::{Known, Seen},
        story::{EOF_READ, EXITED, Story},
    },
};

/// It leaves CLOSE_WAIT.
#[inline(never)]
pub(super) fn on_transition(seen: &Seen, known: &Known) {
    let key = seen.sk.address();
    let is_exiting = current::is_exiting();
    if is_exiting {
        Story::mark(key, EXITED);
    }
    let place = if owner::wants_code_of_current(&known.owner.owner) { capture(Wanted::Yes) } else { 0 };
    let (mut since_ns, mut flags) = (0, 0);
    if known.flags == 0 {
        since_ns = seen.now.saturating_sub(known.in_old_ns);
        flags |= FOUND_SINCE;
    }
    if let Some(story) = Story::of(seen.sk) {
        // SAFETY: a value in the map.
        flags |= unsafe { eof_read(story) };
    }
    closing::send(seen, known, since_ns, flags, place, is_exiting);
}

/// Its last descriptor goes, after it has left CLOSE_WAIT otherwise.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn on_destroy(sk: Sock, story: *const Story) {
    let mut socket = Identity::of(sk);
    let is_exiting = current::is_exiting();
    // SAFETY: the caller's promise.
    let may_look = owner::wants_code_of_current(unsafe { &(*story).owner });
    let place = if may_look { capture(Wanted::Yes) } else { 0 };
    let mut owner = KnownOwner::UNKNOWN;
    // SAFETY: the caller's promise.
    unsafe {
        Story::known_owner(story, &mut owner);
        if socket.local.port == 0 {
            socket.local.port = (*story).local_port;
        }
        let known = Known { owner, cookie: (*story).cookie, id: (*story).id, in_old_ns: 0, flags: 0, held: 0 };
        let seen = Seen { sk, old: (*story).state, new: CLOSE, now: now_ns(), socket };
        closing::send(&seen, &known, 0, eof_read(story), place, is_exiting);
    }
}

/// [`FOUND_EOF_READ`], if so.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
unsafe fn eof_read(story: *const Story) -> u8 {
    // Multiplied: all that comes after a branch the compiler would write twice.
    // SAFETY: the caller's promise.
    u8::from(unsafe { (*story).marks } & EOF_READ != 0) * FOUND_EOF_READ
}
