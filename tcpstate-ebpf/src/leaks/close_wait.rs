//! What happens to sockets in CLOSE_WAIT, from their way in to their end.

use tcpstate_common::{
    arch::syscall,
    config::filter as set,
    event::TaskRecord,
    leak::{KIND_ACCEPTED, KIND_DESTROYED, KIND_EOF_READ},
    state::IPPROTO_MPTCP,
};

use crate::{
    filters::owner,
    kernel::{
        current,
        sock::Sock,
        state::{CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN},
    },
    leaks::closer,
    records::{socket_event, transition},
    rodata::{config, filtering},
    stacks::capture::{Wanted, capture},
    stories::{
        progress::{Known, Seen},
        story::{Story, TRACKED},
    },
};

/// Whether a transition changes anything for leak hunting: those that open a socket, those from and to CLOSE_WAIT, and, for who
/// wants to know who closes, the last step of a socket that has been there. Most of a connection's transitions are none of these.
///
/// Stories skip what this skips. Not asked where every transition is wanted. The parent of MPTCP subflows ends with a transition.
#[inline(always)]
pub(crate) fn concerns(sk: Sock, old: u8, new: u8) -> bool {
    matches!(old, CLOSE | LISTEN | CLOSE_WAIT)
        || new == CLOSE_WAIT
        || old == LAST_ACK && filtering(set::CLOSERS)
        || sk.protocol() == IPPROTO_MPTCP
}

#[inline(always)]
pub(crate) fn on_transition(seen: &Seen, known: &Known) {
    if seen.new == CLOSE_WAIT {
        transition::send_entered(seen, known);
    } else if seen.old == CLOSE_WAIT {
        if filtering(set::CLOSERS) && seen.sk.is_owned() {
            closer::on_transition(seen, known);
        }
        left(seen, known);
    }
}

/// Not inlined: who closes it would lie in the frame of every transition.
#[inline(never)]
fn left(seen: &Seen, known: &Known) {
    // Into LAST_ACK goes `close()` or `shutdown()`, in the context of its caller; what leads to CLOSE may come from
    // anywhere. The closer matters only when it was late; who shuts down may never close.
    let call = if seen.new == LAST_ACK { Call::of_current() } else { Call::Other };
    let by_caller = seen.new == LAST_ACK && (known.in_old_ns >= config!(late_ns) || call == Call::Shutdown);
    let may_look = by_caller && owner::wants_code_of_current(&known.owner.owner);
    let place = if may_look { capture(Wanted::Yes) } else { 0 };
    let actor = if by_caller { current::owner() } else { TaskRecord::UNKNOWN };
    let is_over = call == Call::Close && !filtering(set::TRANSITIONS | set::CLOSERS);
    let told = socket_event::send_left(seen, known, actor, place, is_over);
    if is_over && told {
        // Where there was no room, the end of the socket tells. The story stays until then: what interrupts this transition
        // asks it.
        Story::unmark(seen.sk.address(), TRACKED);
    }
}

/// What takes a socket to LAST_ACK.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `close()`: the last descriptor goes.
    Close,
    /// `shutdown()`: its descriptors stay.
    Shutdown,
    /// Something else, which may be either, or it cannot be told.
    Other,
}

impl Call {
    /// The system call that the running task is in.
    #[inline(always)]
    fn of_current() -> Self {
        match current::system_call() {
            syscall::CLOSE => Self::Close,
            syscall::SHUTDOWN => Self::Shutdown,
            _ => Self::Other,
        }
    }
}

/// `accept()` returned a socket whose peer has closed already.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn accepted(story: *const Story, key: u64) {
    // SAFETY: the caller's promise.
    unsafe { socket_event::send_of(story, key, KIND_ACCEPTED, (*story).owner, (*story).place) }
}

/// A receive returned 0.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn eof_read(story: *const Story, key: u64, place: u64) {
    // SAFETY: the caller's promise.
    unsafe { socket_event::send_of(story, key, KIND_EOF_READ, current::owner(), place) }
}

/// The socket is gone.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn destroyed(story: *const Story, key: u64) {
    // SAFETY: the caller's promise.
    unsafe { socket_event::send_of(story, key, KIND_DESTROYED, TaskRecord::UNKNOWN, 0) }
}
