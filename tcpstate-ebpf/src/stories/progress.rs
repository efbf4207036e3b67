//! How the story of a socket goes on at a transition.

use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use tcpstate_common::{
    config::filter as set,
    event::{FLAG_AT_LEAST, FLAG_NO_DWELL, owner_source},
};

use crate::{
    filters::{self, socket::Unset},
    kernel::{
        current,
        read::Typed,
        sock::{Identity, Sock},
        state::{CLOSE, LISTEN, SYN_RECV},
    },
    rodata::filtering,
    stacks::capture::{Wanted, capture_in},
    stories::{
        holding, listener, listening,
        owner::KnownOwner,
        story::{SINCE_BEFORE, Story},
        unseen,
    },
};

/// What is known of a socket at a transition, from its story.
pub(crate) struct Known {
    pub(crate) owner: KnownOwner,
    pub(crate) cookie: u64,
    pub(crate) id: u64,
    /// Nanoseconds in the old state, and `FLAG_*` that qualify it.
    pub(crate) in_old_ns: u64,
    pub(crate) flags: u8,
    /// Not 0: somebody whom the filters want holds it.
    pub(crate) held: u8,
}

impl Known {
    pub(crate) const NOTHING: Self =
        Self { owner: KnownOwner::UNKNOWN, cookie: 0, id: 0, in_old_ns: 0, flags: FLAG_NO_DWELL, held: 0 };
}

/// A socket at a transition, as a hook sees it. Elsewhere both states are the one that it is in.
pub(crate) struct Seen<R = Typed> {
    pub(crate) sk: Sock<R>,
    pub(crate) old: u8,
    pub(crate) new: u8,
    pub(crate) now: u64,
    pub(crate) socket: Identity,
}

// The functions below fill what their caller has room for and are not inlined: each has a frame of its own on the BPF stack,
// 512 bytes for the whole chain of calls. They return whether the socket has a story.

/// From CLOSE to SYN_SENT, in the context of `connect()`: the running task opens the socket.
#[inline(never)]
pub(crate) fn connecting(seen: &Seen, known: &mut Known) -> bool {
    known.owner.owner = current::owner();
    known.owner.source = owner_source::CONNECT;
    if !filters::owner::wants(&known.owner.owner) || !wanted_so_far(seen) {
        return false;
    }
    if filtering(set::LEAKS) {
        // The kernel chooses the local port only after this, and the parent of MPTCP subflows has no addresses yet.
        let wanted = if is_wanted(seen) { Wanted::Yes } else { Wanted::NotYetKnown };
        known.owner.place = capture_in(connects, wanted);
    }
    known.cookie = seen.sk.cookie();
    let closed_ns = closed_for(seen, known.cookie);
    begin(seen, known);
    if let Some(closed_ns) = closed_ns {
        known.in_old_ns = closed_ns;
        known.flags = 0;
    }
    true
}

/// Nanoseconds that this very socket has been in CLOSE, where that was seen and is asked for: after a `connect()` that failed and
/// after `connect(AF_UNSPEC)` a socket may be connected again.
#[inline(always)]
fn closed_for(seen: &Seen, cookie: u64) -> Option<u64> {
    if filtering(set::LEAKS) && !filtering(set::TRANSITIONS) {
        return None;
    }
    let story = Story::at(seen.sk.address())?;
    // SAFETY: a value in the map. The transitions of one socket are serialized by its lock.
    unsafe {
        let its_own = (*story).cookie == cookie;
        (its_own && (*story).state == CLOSE && (*story).flags & SINCE_BEFORE == 0)
            .then(|| seen.now.saturating_sub((*story).since_ns))
    }
}

/// Whether a system call connects; with TCP Fast Open what sends first does.
#[inline(always)]
fn connects(call: i64) -> bool {
    use tcpstate_common::arch::syscall::{
        CONNECT, IO_SUBMIT, IO_URING_ENTER, PWRITEV, PWRITEV2, SENDFILE, SENDMMSG, SENDMSG, SENDTO, SPLICE, WRITE,
        WRITEV,
    };
    matches!(
        call,
        WRITE
            | WRITEV
            | SENDFILE
            | CONNECT
            | SENDTO
            | SENDMSG
            | IO_SUBMIT
            | SPLICE
            | PWRITEV
            | SENDMMSG
            | PWRITEV2
            | IO_URING_ENTER
    )
}

/// From CLOSE to LISTEN, in the context of `listen()`.
#[inline(never)]
pub(crate) fn listening(seen: &Seen, known: &mut Known) -> bool {
    known.owner.owner = current::owner();
    known.owner.source = owner_source::LISTEN;
    known.cookie = seen.sk.cookie();
    listening::begins(&known.owner.owner);
    // Others than the one that listens may accept its connections, so it is kept whoever it is.
    listener::add(seen.sk, seen.socket.netns, &known.owner);
    begin(seen, known);
    true
}

/// From LISTEN to SYN_RECV: a child of a listener, in softirq on behalf of anybody. The parent of MPTCP subflows goes to
/// ESTABLISHED at once.
#[inline(never)]
pub(crate) fn arriving(seen: &Seen, known: &mut Known) -> bool {
    if !wanted_so_far(seen) {
        return false;
    }
    let wanted = listener::of_child(seen.sk, seen.socket.netns, seen.socket.local.port, &mut known.owner);
    if filtering(set::PID) && !wanted {
        // If a followed process accepts it all the same, its story begins there.
        return false;
    }
    // Before 6.13 the child is a plain copy of its listener here: no peer yet, and the listener's cookie. The parent of MPTCP
    // subflows has no peer yet either, but keeps that cookie.
    known.cookie = if seen.new == SYN_RECV && seen.socket.remote.port == 0 { 0 } else { seen.sk.cookie() };
    begin(seen, known);
    true
}

/// Every other transition: the story goes on, or begins in the middle.
#[inline(never)]
pub(crate) fn going_on(ctx: &BtfTracePointContext, seen: &mut Seen, known: &mut Known) -> bool {
    let key = seen.sk.address();
    let Some(story) = Story::at(key) else {
        return begin_in_the_middle(seen, known);
    };
    let cookie = seen.sk.cookie();
    // SAFETY: `story` is a value in the map. The transitions of one socket are serialized by its lock.
    unsafe {
        if (*story).cookie != cookie {
            if (*story).cookie != 0 {
                log_stranger(ctx, cookie, (*story).cookie);
                return begin_in_the_middle(seen, known);
            }
            (*story).cookie = cookie;
        }
        if seen.socket.local.port == 0 {
            seen.socket.local.port = (*story).local_port;
        } else {
            (*story).local_port = seen.socket.local.port;
        }
        Story::known_owner(story, &mut known.owner);
        known.held = (*story).held;
        known.cookie = cookie;
        known.id = (*story).id;
        if (*story).state != seen.old {
            // A transition that was not seen, such as one during a full map.
            known.flags = FLAG_NO_DWELL;
            unseen::skipped(story);
        } else {
            known.in_old_ns = seen.now.saturating_sub((*story).since_ns);
            known.flags = if (*story).flags & SINCE_BEFORE != 0 { FLAG_AT_LEAST } else { 0 };
        }
        (*story).since_ns = seen.now;
        (*story).state = seen.new;
        (*story).flags = 0;
        (*story).marks |= Story::marks_in(seen.new);
    }
    // A listener's owner may have exited. Out of SYN_RECV a connection goes right after it has come.
    if known.owner.source == owner_source::LISTEN && seen.old != SYN_RECV || seen.old == LISTEN {
        listener::present_owner(seen.sk, seen.socket.netns, seen.socket.local.port, &mut known.owner);
    }
    true
}

/// Not inlined: the words of a log line fill a frame.
#[inline(never)]
fn log_stranger(ctx: &BtfTracePointContext, cookie: u64, former: u64) {
    debug!(ctx, "socket {}: at the address of socket {}, whose end was not seen", cookie, former);
}

/// A socket without a story: it is older than the tracer, or did not fit into the map.
#[inline(never)]
fn begin_in_the_middle(seen: &mut Seen, known: &mut Known) -> bool {
    if seen.socket.local.port == 0 {
        seen.socket.local.port = seen.sk.bound_port();
    }
    // Under filters on processes only those stories are kept that began with their owner, or with somebody wanted who holds them.
    if filtering(set::PID | set::COMM) && !is_found_held(seen, known) || !wanted_so_far(seen) {
        return false;
    }
    known.cookie = seen.sk.cookie();
    begin(seen, known);
    true
}

/// Whether it is somebody wanted who makes this transition with a descriptor, and so holds the socket.
#[inline(never)]
fn is_found_held(seen: &Seen, known: &mut Known) -> bool {
    if !holding::is_made_by_holder(seen.sk, seen.new) {
        return false;
    }
    known.owner.owner = current::owner();
    known.owner.source = owner_source::SNAPSHOT;
    known.held = 1;
    filters::owner::wants(&known.owner.owner)
}

/// Whether the filters on sockets let it pass, or may when it has the addresses that it lacks.
#[inline(never)]
fn wanted_so_far(seen: &Seen) -> bool {
    filters::socket::wants(seen.sk, &seen.socket, Unset::Passes)
}

/// Whether they let it pass as it is.
#[inline(never)]
fn is_wanted(seen: &Seen) -> bool {
    filters::socket::wants(seen.sk, &seen.socket, Unset::Fails)
}

/// Starts the story of a socket in its new state, of the owner and cookie that are known. Nothing is known of the time in the old
/// one.
///
/// The story is in no frame but this one, the last of the chain.
#[inline(never)]
fn begin(seen: &Seen, known: &mut Known) {
    let mut story = Story::new(&known.owner, known.cookie, seen.now, seen.new, seen.socket.local.port);
    story.marks = Story::marks_in(seen.new);
    story.held = known.held;
    // A socket that is connected again was in CLOSE. In another state what is there is left over from another socket.
    // SAFETY: a value in the map.
    known.id = story.begin(seen.sk.address(), |former| unsafe { unseen::over(former) });
}
