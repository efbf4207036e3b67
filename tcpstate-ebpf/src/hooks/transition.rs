//! `inet_sock_set_state`: a TCP transition on its way to user space.

use aya_ebpf::programs::BtfTracePointContext;
use tcpstate_common::{config::filter as set, state::IPPROTO_MPTCP};

use crate::{
    armed::is_armed,
    clock::now_ns,
    counters::count,
    filters::{self, followed, socket::Unset},
    kernel::{
        current,
        sock::{Identity, Sock},
        state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT},
    },
    leaks::close_wait,
    records::transition,
    rodata::filtering,
    stories::{
        holding, listener,
        progress::{self, Known, Seen},
        story::{Story, TRACKED},
    },
};

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
        (CLOSE, SYN_SENT) => progress::connecting(&seen, &mut known),
        (CLOSE, LISTEN) => progress::listening(&seen, &mut known),
        (LISTEN, SYN_RECV | ESTABLISHED) => progress::arriving(&seen, &mut known),
        _ => progress::going_on(ctx, &mut seen, &mut known),
    };
    // From here on by what was seen, which is in the frame: what is kept beside it takes room on the BPF stack.
    if seen.old == LISTEN && seen.new == CLOSE {
        listener::remove(seen.sk, seen.socket.netns, seen.socket.local.port);
    }
    if seen.new == CLOSE && seen.sk.protocol() == IPPROTO_MPTCP {
        // No `tcp_destroy_sock` follows for the parent of MPTCP subflows.
        Story::end(seen.sk.address());
    }
    let is_wanted = kept && wanted(&seen, &known);
    if filtering(set::LEAKS) && kept && !is_wanted && seen.new == CLOSE_WAIT {
        Story::unmark(seen.sk.address(), TRACKED);
    }
    if !is_armed() {
        return;
    }
    if !is_wanted {
        count!(filtered);
    } else if filtering(set::LEAKS) {
        close_wait::on_transition(&seen, &known);
        // Into CLOSE_WAIT leak hunting sends the whole transition.
        if filtering(set::TRANSITIONS) && seen.new != CLOSE_WAIT {
            transition::send(&seen, &known);
        }
    } else {
        transition::send(&seen, &known);
    }
}

/// Whether it is plain without a clock and without addresses that a transition is nobody's whom the filters name. Under these
/// filters a socket has no story unless it began with its owner or with who holds it; one that listens is kept whoever it is.
#[inline(always)]
fn of_nobody_wanted(sk: Sock, old: u8, new: u8) -> bool {
    match (old, new) {
        (CLOSE, SYN_SENT) => filtering(set::PID) && !followed::contains(current::tgid()),
        (CLOSE | LISTEN, _) => false,
        _ => Story::of(sk).is_none() && !is_of_holder(sk, new),
    }
}

/// Whether somebody wanted makes a transition of a socket that is not known to be of anybody: it is going to be this one's.
#[inline(always)]
fn is_of_holder(sk: Sock, new: u8) -> bool {
    holding::is_made_by_holder(sk, new) && (!filtering(set::PID) || followed::contains(current::tgid()))
}

/// Whether the filters let the transition pass.
#[inline(never)]
fn wanted(seen: &Seen, known: &Known) -> bool {
    (filters::owner::wants(&known.owner.owner) || known.held != 0)
        && filters::socket::wants(seen.sk, &seen.socket, Unset::Fails)
        && filters::socket::wants_states(seen.old, seen.new)
}
