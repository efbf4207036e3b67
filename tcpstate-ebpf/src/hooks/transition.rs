//! `inet_sock_set_state`: a TCP transition on its way to user space.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, RingBuf},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tcpstate_common::{
    config::filter as set,
    event::{FLAG_AT_LEAST, FLAG_NO_DWELL, KIND_TRANSITION, Transition, owner_source},
    state::{IPPROTO_MPTCP, TcpState},
};

use crate::{
    atomic,
    clock::now_ns,
    counters::{self, count},
    filters::{self, followed, socket::Unset},
    kernel::{
        current,
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT},
    },
    leaks::close_wait,
    rodata::{config, filtering},
    stacks::capture::capture_in,
    stories::{
        listener,
        owner::KnownOwner,
        story::{SINCE_BEFORE, Story},
    },
};

/// After so many records of a CPU it looks at how full the buffer is: the look costs more than it is worth for each.
const WAKEUP_EVERY: u64 = 8;

/// Records for user space. The loader sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// 0 until the snapshot is in, and again once the programs are to be detached: then transitions update the stories, and nothing is
/// sent.
#[map]
static ARMED: Array<u32> = Array::with_max_entries(1, 0);

/// What is known of a socket at a transition, from its story.
pub(crate) struct Known {
    pub(crate) owner: KnownOwner,
    pub(crate) cookie: u64,
    pub(crate) id: u64,
    /// Nanoseconds in the old state, and `FLAG_*` that qualify it.
    pub(crate) in_old_ns: u64,
    pub(crate) flags: u8,
}

impl Known {
    const NOTHING: Self = Self { owner: KnownOwner::UNKNOWN, cookie: 0, id: 0, in_old_ns: 0, flags: FLAG_NO_DWELL };
}

/// A transition as the tracepoint gives it.
pub(crate) struct Seen {
    pub(crate) sk: Sock,
    pub(crate) old: u8,
    pub(crate) new: u8,
    pub(crate) now: u64,
    pub(crate) socket: Identity,
}

#[inline(always)]
pub(crate) fn on_transition(ctx: &BtfTracePointContext) {
    let sk = Sock::new(ctx.arg(0));
    if !sk.is_tcp() {
        return;
    }
    let (old, new) = (ctx.arg::<i32>(1) as u8, ctx.arg::<i32>(2) as u8);
    if filtering(set::LEAKS) && !filtering(set::TRANSITIONS) && !close_wait::concerns(sk, old, new) {
        return;
    }
    if filtering(set::PID | set::COMM) && of_nobody_wanted(sk, old, new) {
        if is_armed() {
            count!(filtered);
        }
        return;
    }
    let mut seen = Seen { sk, old, new, now: now_ns(), socket: Identity::of(sk) };
    let mut known = Known::NOTHING;
    let kept = match (old, new) {
        (CLOSE, SYN_SENT) => connecting(&seen, &mut known),
        (CLOSE, LISTEN) => listening(&seen, &mut known),
        (LISTEN, SYN_RECV | ESTABLISHED) => arriving(&seen, &mut known),
        _ => going_on(ctx, &mut seen, &mut known),
    };
    if old == LISTEN && new == CLOSE {
        listener::remove(sk, seen.socket.netns, seen.socket.local.port);
    }
    if new == CLOSE && sk.protocol() == IPPROTO_MPTCP {
        // No `tcp_destroy_sock` follows for the parent of MPTCP subflows.
        Story::end(sk.address());
    }
    if !is_armed() {
        return;
    }
    if !kept || !wanted(&seen, &known) {
        count!(filtered);
    } else if filtering(set::LEAKS) {
        close_wait::on_transition(&seen, &known);
        // Into CLOSE_WAIT leak hunting sends the whole transition.
        if filtering(set::TRANSITIONS) && new != CLOSE_WAIT {
            send(&seen, &known);
        }
    } else {
        send(&seen, &known);
    }
}

/// Whether transitions are asked for: from when the snapshot is in until the programs are about to be detached.
#[inline(always)]
pub(crate) fn is_armed() -> bool {
    ARMED.get(0).is_some_and(|armed| *armed != 0)
}

/// Whether it is plain without a clock and without addresses that a transition is nobody's whom the filters name. Under these
/// filters a socket has no story unless it began with its owner; one that listens is kept whoever it is.
#[inline(always)]
fn of_nobody_wanted(sk: Sock, old: u8, new: u8) -> bool {
    match (old, new) {
        (CLOSE, SYN_SENT) => filtering(set::PID) && !followed::contains(current::tgid()),
        (CLOSE | LISTEN, _) => false,
        _ => Story::of(sk.address()).is_none(),
    }
}

/// Whether the filters let the transition pass.
#[inline(never)]
fn wanted(seen: &Seen, known: &Known) -> bool {
    filters::owner::wants(&known.owner.owner)
        && filters::socket::wants(seen.sk, &seen.socket, Unset::Fails)
        && filters::socket::wants_states(seen.old, seen.new)
}

// The functions below fill what their caller has room for and are not inlined: each has a frame of its own on the BPF stack,
// 512 bytes for the whole chain of calls. They return whether the socket has a story.

/// From CLOSE to SYN_SENT, in the context of `connect()`: the running task opens the socket.
#[inline(never)]
fn connecting(seen: &Seen, known: &mut Known) -> bool {
    known.owner.owner = current::owner();
    known.owner.source = owner_source::CONNECT;
    if !filters::owner::wants(&known.owner.owner) || !wanted_so_far(seen) {
        return false;
    }
    if filtering(set::LEAKS) {
        known.owner.place = capture_in(connects);
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
    let story = Story::of(seen.sk.address())?;
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
fn listening(seen: &Seen, known: &mut Known) -> bool {
    known.owner.owner = current::owner();
    known.owner.source = owner_source::LISTEN;
    known.cookie = seen.sk.cookie();
    // Others than the one that listens may accept its connections, so it is kept whoever it is.
    listener::add(seen.sk, seen.socket.netns, &known.owner);
    begin(seen, known);
    true
}

/// From LISTEN to SYN_RECV: a child of a listener, in softirq on behalf of anybody. The parent of MPTCP subflows goes to
/// ESTABLISHED at once.
#[inline(never)]
fn arriving(seen: &Seen, known: &mut Known) -> bool {
    if !wanted_so_far(seen) {
        return false;
    }
    let wanted = listener::of_child(seen.sk, seen.socket.netns, &mut known.owner);
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
fn going_on(ctx: &BtfTracePointContext, seen: &mut Seen, known: &mut Known) -> bool {
    let key = seen.sk.address();
    let Some(story) = Story::of(key) else {
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
        known.cookie = cookie;
        known.id = (*story).id;
        if (*story).state != seen.old {
            // A transition that was not seen, such as one during a full map.
            known.flags = FLAG_NO_DWELL;
        } else {
            known.in_old_ns = seen.now.saturating_sub((*story).since_ns);
            known.flags = if (*story).flags & SINCE_BEFORE != 0 { FLAG_AT_LEAST } else { 0 };
        }
        (*story).since_ns = seen.now;
        (*story).state = seen.new;
        (*story).flags = 0;
        (*story).marks |= Story::marks_in(seen.new);
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
    // Of followed processes' sockets only those stories are kept that began with their owner.
    if filtering(set::PID | set::COMM) || !wanted_so_far(seen) {
        return false;
    }
    known.cookie = seen.sk.cookie();
    begin(seen, known);
    true
}

/// Whether the filters on sockets let it pass, or may when it has the addresses that it lacks.
#[inline(never)]
fn wanted_so_far(seen: &Seen) -> bool {
    filters::socket::wants(seen.sk, &seen.socket, Unset::Passes)
}

/// Starts the story of a socket in its new state, of the owner and cookie that are known. Nothing is known of the time in the old
/// one.
///
/// The story is in no frame but this one, the last of the chain.
#[inline(never)]
fn begin(seen: &Seen, known: &mut Known) {
    let mut story = Story::new(&known.owner, known.cookie, seen.now, seen.new, seen.socket.local.port);
    story.marks = Story::marks_in(seen.new);
    known.id = story.begin(seen.sk.address());
}

/// Puts the transition into the ring buffer.
#[inline(always)]
fn send(seen: &Seen, known: &Known) {
    if TcpState::try_from(seen.old).is_err() || TcpState::try_from(seen.new).is_err() {
        count!(unknown_state);
    }
    // SAFETY: an entry of the ring buffer.
    submit(|record| unsafe { fill(record, seen, known, KIND_TRANSITION) });
}

/// Writes the transition as user space gets it; in place, since the BPF stack has no room for it.
///
/// # Safety
///
/// `record` has to be writable.
#[inline(always)]
pub(crate) unsafe fn fill(record: *mut Transition, seen: &Seen, known: &Known, kind: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        (*record).kind = kind;
        (*record).old_state = seen.old;
        (*record).new_state = seen.new;
        (*record).owner_source = known.owner.source;
        (*record).flags = known.flags;
        (*record).ts_ns = seen.now;
        (*record).in_old_ns = known.in_old_ns;
        (*record).id = known.id;
        (*record).cookie = known.cookie;
        (*record).owner = known.owner.owner;
        fill_socket(record, seen.sk, &seen.socket);
    }
}

/// Writes what a socket is.
///
/// # Safety
///
/// `record` has to be writable.
#[inline(always)]
pub(crate) unsafe fn fill_socket<R: Read>(record: *mut Transition, sk: Sock<R>, socket: &Identity) {
    // SAFETY: the caller's promise.
    unsafe {
        (*record).skaddr = sk.address();
        (*record).cgroup_id = socket.cgroup_id;
        (*record).netns = socket.netns;
        (*record).uid = sk.uid();
        (*record).local_addr = socket.local.addr;
        (*record).remote_addr = socket.remote.addr;
        (*record).local_port = socket.local.port;
        (*record).remote_port = socket.remote.port;
        (*record).family = socket.family;
        (*record).protocol = sk.protocol();
    }
}

/// Submits a record that `fill` writes; returns whether there was room. User space is woken only when much is waiting, which is
/// looked at now and then; a timer does the rest.
#[inline(always)]
pub(crate) fn submit<T: 'static>(fill: impl FnOnce(*mut T)) -> bool {
    let Some(counters) = counters::of_this_cpu() else { return false };
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        count!(dropped);
        return false;
    };
    fill(entry.as_mut_ptr());
    // SAFETY: this CPU's own value; a softirq may count in between.
    let due = unsafe { (&raw const (*counters).submitted).read_volatile() } % WAKEUP_EVERY == 0;
    let much = due && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= u64::from(config!(wakeup_bytes));
    entry.submit(u64::from(if much { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
    // SAFETY: a value in the map; atomic because of that softirq.
    unsafe { atomic::add(&raw mut (*counters).submitted, 1) };
    true
}
