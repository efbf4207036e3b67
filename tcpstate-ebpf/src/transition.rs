//! `inet_sock_set_state`: a TCP transition on its way to user space.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::bpf_ktime_get_ns,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tcpstate_common::{
    config::filter as set,
    event::{FLAG_AT_LEAST, FLAG_NO_DWELL, KIND_TRANSITION, Transition, owner_source},
    state::{IPPROTO_MPTCP, TcpState},
};

use crate::{
    config::{config, filtering},
    filter::{self, Unset},
    listener,
    maps::{ARMED, EVENTS, SOCKETS, count},
    owner,
    sock::{End, Sock},
    story::{KnownOwner, SINCE_BEFORE, Story},
};

const SYN_SENT: u8 = TcpState::SynSent as u8;
const SYN_RECV: u8 = TcpState::SynRecv as u8;
const CLOSE: u8 = TcpState::Close as u8;
const LISTEN: u8 = TcpState::Listen as u8;

/// What is known of a socket at a transition, from its story.
struct Known {
    owner: KnownOwner,
    cookie: u64,
    /// Nanoseconds in the old state, and `FLAG_*` that qualify it.
    in_old_ns: u64,
    flags: u8,
}

/// A transition as the tracepoint gives it.
struct Seen {
    sk: Sock,
    old: u8,
    new: u8,
    now: u64,
    family: u16,
    local: End,
    remote: End,
}

#[inline(always)]
pub(crate) fn on_transition(ctx: &BtfTracePointContext) {
    let sk = Sock::new(ctx.arg(0));
    if !sk.is_tcp() {
        return;
    }
    let (old, new) = (ctx.arg::<i32>(1) as u8, ctx.arg::<i32>(2) as u8);
    let family = sk.family();
    let mut seen = Seen {
        sk,
        old,
        new,
        now: unsafe { bpf_ktime_get_ns() },
        family,
        local: sk.local(family),
        remote: sk.remote(family),
    };
    let known = match (old, new) {
        (CLOSE, SYN_SENT) => connecting(&seen),
        (CLOSE, LISTEN) => listening(&seen),
        (LISTEN, SYN_RECV) => arriving(&seen),
        _ => going_on(ctx, &mut seen),
    };
    if old == LISTEN && new == CLOSE {
        listener::remove(sk, seen.local.port);
    }
    if new == CLOSE && sk.protocol() == IPPROTO_MPTCP {
        // No `tcp_destroy_sock` follows for the parent of MPTCP subflows.
        let _ = SOCKETS.remove(sk.address());
    }
    let armed = ARMED.get(0).is_some_and(|armed| *armed != 0);
    if !armed {
        return;
    }
    match known {
        Some(known)
            if owner::wanted(&known.owner.owner)
                && filter::socket(sk, family, &seen.local, &seen.remote, Unset::Fails)
                && filter::states(old, new) =>
        {
            send(&seen, &known);
        }
        _ => count!(filtered),
    }
}

/// CLOSE→SYN_SENT, in the context of `connect()`: the running task opens the socket.
#[inline(always)]
fn connecting(seen: &Seen) -> Option<Known> {
    let owner = KnownOwner { owner: owner::current(), source: owner_source::CONNECT };
    if !(owner::wanted(&owner.owner) && wanted_so_far(seen)) {
        return None;
    }
    let cookie = seen.sk.cookie();
    let closed_ns = closed_for(seen, cookie);
    let known = begin(seen, owner, cookie);
    Some(match closed_ns {
        Some(in_old_ns) => Known { in_old_ns, flags: 0, ..known },
        None => known,
    })
}

/// Nanoseconds that this very socket has been in CLOSE, where that was seen: after a `connect()` that failed and after
/// `connect(AF_UNSPEC)` a socket may be connected again.
#[inline(always)]
fn closed_for(seen: &Seen, cookie: u64) -> Option<u64> {
    let story = SOCKETS.get_ptr(seen.sk.address())?;
    // SAFETY: a value in the map. The transitions of one socket are serialized by its lock.
    unsafe {
        let its_own = cookie != 0 && (*story).cookie == cookie;
        (its_own && (*story).state == CLOSE && (*story).flags & SINCE_BEFORE == 0)
            .then(|| seen.now.saturating_sub((*story).since_ns))
    }
}

/// CLOSE→LISTEN, in the context of `listen()`.
#[inline(always)]
fn listening(seen: &Seen) -> Option<Known> {
    let owner = KnownOwner { owner: owner::current(), source: owner_source::LISTEN };
    // Others than the one that listens may accept its connections, so it is kept whoever it is.
    listener::add(seen.sk, &owner);
    Some(begin(seen, owner, seen.sk.cookie()))
}

/// LISTEN→SYN_RECV: a child of a listener, in softirq on behalf of anybody.
#[inline(always)]
fn arriving(seen: &Seen) -> Option<Known> {
    if !wanted_so_far(seen) {
        return None;
    }
    let parent = listener::of_child(seen.sk);
    if filtering(set::PID) && !parent.wanted {
        // If a followed process accepts it all the same, its story begins there.
        return None;
    }
    // Before 6.13 the child is a plain copy of its listener here: no peer yet, and the listener's cookie.
    let cookie = if seen.remote.port == 0 { 0 } else { seen.sk.cookie() };
    Some(begin(seen, parent.known, cookie))
}

/// Every other transition: the story goes on, or begins in the middle.
#[inline(always)]
fn going_on(ctx: &BtfTracePointContext, seen: &mut Seen) -> Option<Known> {
    let key = seen.sk.address();
    let Some(story) = SOCKETS.get_ptr_mut(key) else {
        return begin_in_the_middle(seen);
    };
    let cookie = seen.sk.cookie();
    // SAFETY: `story` is a value in the map. The transitions of one socket are serialized by its lock.
    unsafe {
        if (*story).cookie != cookie {
            if (*story).cookie != 0 {
                debug!(ctx, "socket {}: at the address of socket {}, whose end was not seen", cookie, (*story).cookie);
                return begin_in_the_middle(seen);
            }
            (*story).cookie = cookie;
        }
        if seen.local.port == 0 {
            seen.local.port = (*story).local_port;
        } else {
            (*story).local_port = seen.local.port;
        }
        let owner = Story::known_owner(story);
        let (in_old_ns, flags) = if (*story).state != seen.old {
            // A transition that was not seen, such as one during a full map.
            (0, FLAG_NO_DWELL)
        } else if (*story).flags & SINCE_BEFORE != 0 {
            (seen.now.saturating_sub((*story).since_ns), FLAG_AT_LEAST)
        } else {
            (seen.now.saturating_sub((*story).since_ns), 0)
        };
        (*story).since_ns = seen.now;
        (*story).state = seen.new;
        (*story).flags = 0;
        Some(Known { owner, cookie, in_old_ns, flags })
    }
}

/// A socket without a story: it is older than the tracer, or did not fit into the map.
#[inline(always)]
fn begin_in_the_middle(seen: &mut Seen) -> Option<Known> {
    if seen.local.port == 0 {
        seen.local.port = seen.sk.bound_port();
    }
    if filtering(set::PID | set::COMM) {
        // Stories are kept of the followed processes' sockets only.
        return None;
    }
    wanted_so_far(seen).then(|| begin(seen, KnownOwner::UNKNOWN, seen.sk.cookie()))
}

#[inline(always)]
fn wanted_so_far(seen: &Seen) -> bool {
    filter::socket(seen.sk, seen.family, &seen.local, &seen.remote, Unset::Passes)
}

/// Starts the story of a socket in its new state. Nothing is known of the time in the old one.
#[inline(always)]
fn begin(seen: &Seen, owner: KnownOwner, cookie: u64) -> Known {
    Story::new(&owner, cookie, seen.now, seen.new, seen.local.port).begin(seen.sk.address());
    Known { owner, cookie, in_old_ns: 0, flags: FLAG_NO_DWELL }
}

/// Puts the record into the ring buffer. User space is woken only when much is waiting; a timer does the rest.
#[inline(always)]
fn send(seen: &Seen, known: &Known) {
    if TcpState::try_from(seen.old).is_err() || TcpState::try_from(seen.new).is_err() {
        count!(unknown_state);
    }
    let Some(mut entry) = EVENTS.reserve::<Transition>(0) else {
        count!(dropped);
        return;
    };
    entry.write(Transition {
        kind: KIND_TRANSITION,
        old_state: seen.old,
        new_state: seen.new,
        owner_source: known.owner.source,
        flags: known.flags,
        ts_ns: seen.now,
        in_old_ns: known.in_old_ns,
        cookie: known.cookie,
        skaddr: seen.sk.address(),
        cgroup_id: seen.sk.cgroup_id(),
        owner: known.owner.owner,
        netns: seen.sk.netns(),
        uid: seen.sk.uid(),
        local_addr: seen.local.addr,
        remote_addr: seen.remote.addr,
        local_port: seen.local.port,
        remote_port: seen.remote.port,
        family: seen.family,
        protocol: seen.sk.protocol(),
    });
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let wakeup = if waiting >= u64::from(config!(wakeup_bytes)) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    entry.submit(u64::from(wakeup));
    count!(submitted);
}
