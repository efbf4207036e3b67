//! How leaking sockets stand now: iterators over descriptors, and over the sockets that have none.

use aya_ebpf::{helpers::generated::bpf_jiffies64, macros::map, maps::PerCpuArray};
use tcpstate_common::{
    config::filter as set,
    leak::{FOUND_EOF_READ, FOUND_SINCE, FOUND_UNACCEPTED, Found},
};

use crate::{
    clock::now_ns,
    filters::{
        followed, owner,
        socket::{Unset, wants as socket_filter},
    },
    hooks::transition::fill_socket,
    kernel::{
        file::with_socket,
        iter::{self, Reader, TaskFileContext, TcpContext},
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE_WAIT, FIN_WAIT2, LISTEN},
    },
    rodata::{filtering, offset},
    stories::{
        owner::KnownOwner,
        story::{EOF_READ, SINCE_BEFORE, Story, TRACKED},
    },
};

/// Ticks that a time may be ahead of a clock that was read before it.
const RACE: u32 = 1000;

/// What an iterator is about to write: too large for the BPF stack.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

/// A descriptor of a task.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = iter::descriptor(ctx) else { return };
        let holder = descriptor.task.tgid();
        with_socket!(descriptor.file, |sk| write(descriptor.reader, sk, holder, descriptor.fd));
    }
}

/// A socket in the hash tables of a network namespace.
#[inline(always)]
pub(crate) fn on_tcp(ctx: *const TcpContext) {
    // SAFETY: the iterator's context.
    unsafe {
        if let Some((sk, reader)) = iter::full_socket(ctx) {
            write(reader, sk, 0, 0);
        }
    }
}

/// Writes a socket that is in CLOSE_WAIT, or has been and is still there, or a listener with a backlog, or one that has only
/// closed its side and waits for the other, which may be a socket in CLOSE_WAIT of this host.
#[inline(always)]
fn write<R: Read>(reader: Reader, sk: Sock<R>, holder_tgid: u32, holder_fd: u32) {
    let state = sk.state();
    let story = Story::of(sk.address());
    // SAFETY: a value in the map.
    let tracked = story.is_some_and(|story| unsafe { (*story).marks & TRACKED != 0 });
    let waiting = state == LISTEN && sk.backlog() != 0 && holder_tgid == 0;
    let half_closed = state == FIN_WAIT2 && holder_tgid != 0 && sk.receives();
    if !(state == CLOSE_WAIT || tracked || waiting || half_closed) {
        return;
    }
    let mut socket = Identity::of(sk);
    let mut known = KnownOwner::UNKNOWN;
    let (mut since_ns, mut flags) = (0, 0);
    if let Some(story) = story {
        // SAFETY: a value in the map.
        unsafe {
            Story::known_owner(story, &mut known);
            if socket.local.port == 0 {
                socket.local.port = (*story).local_port;
            }
            if (*story).state == state && (*story).flags & SINCE_BEFORE == 0 {
                since_ns = (*story).since_ns;
                flags |= FOUND_SINCE;
            }
            if (*story).marks & EOF_READ != 0 {
                flags |= FOUND_EOF_READ;
            }
            if state == CLOSE_WAIT {
                // From now on its end is of interest, too.
                (*story).marks |= TRACKED;
            }
        }
    }
    // Filters are about the socket in CLOSE_WAIT, whoever its peer is.
    if !half_closed
        && (filtering(set::PID | set::COMM) && !owner::wants(&known.owner) && !held_by_wanted(holder_tgid)
            || !socket_filter(sk, &socket, Unset::Fails))
    {
        return;
    }
    if sk.socket() == 0 {
        flags |= FOUND_UNACCEPTED;
    }
    let Some(found) = FOUND.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own value, and one iterator runs at a time.
    unsafe {
        let record = &raw mut (*found).socket;
        (*record).kind = 0;
        (*record).old_state = state;
        (*record).new_state = state;
        (*record).owner_source = known.source;
        (*record).flags = flags;
        (*record).ts_ns = now_ns();
        (*record).in_old_ns = since_ns;
        (*record).id = 0;
        (*record).cookie = sk.cookie();
        (*record).owner = known.owner;
        fill_socket(record, sk, &socket);
        (*found).place = known.place;
        (*found).holder_tgid = holder_tgid;
        (*found).holder_fd = holder_fd;
        fill_load(found, sk, state);
        reader.write(&*found);
    }
}

/// With `--pid` also sockets are wanted that others opened and this process holds.
#[inline(always)]
fn held_by_wanted(tgid: u32) -> bool {
    tgid != 0 && filtering(set::PID) && followed::contains(tgid)
}

/// Writes queues and times, as `tcp_diag_get_info()` and `tcp_get_info()` compute them (`net/ipv4/tcp_diag.c`, `tcp.c`).
///
/// # Safety
///
/// `found` has to be writable.
#[inline(always)]
pub(crate) unsafe fn fill_load<R: Read>(found: *mut Found, sk: Sock<R>, state: u8) {
    let distance = |ahead: u32, behind: u32| {
        let distance = ahead.wrapping_sub(behind);
        if distance as i32 > 0 { distance } else { 0 }
    };
    // Another CPU may have set a time after the clock was read. What is longer ago than half the range is not ahead: a month on
    // a kernel that counts a thousand ticks a second.
    let elapsed = |now: u32, then: u32| {
        let elapsed = now.wrapping_sub(then);
        if elapsed < u32::MAX - RACE { elapsed } else { 0 }
    };
    // SAFETY: the caller's promise; a `struct tcp_sock` that `R` can read.
    unsafe {
        let jiffies = bpf_jiffies64();
        (*found).jiffies = jiffies;
        (*found).recv_q = 0;
        (*found).send_q = 0;
        (*found).drops = 0;
        let tcp = sk.tcp();
        if state == LISTEN {
            (*found).recv_q = sk.backlog();
            (*found).send_q = sk.backlog_limit();
            (*found).drops = sk.drops();
        } else if !tcp.is_null() {
            let now = jiffies as u32;
            (*found).recv_q = distance(R::load(tcp, offset!(rcv_nxt)), R::load(tcp, offset!(copied_seq)));
            (*found).send_q = distance(R::load(tcp, offset!(write_seq)), R::load(tcp, offset!(snd_una)));
            (*found).since_data_recv = elapsed(now, R::load(tcp, offset!(lrcvtime)));
            (*found).since_ack_recv = elapsed(now, R::load(tcp, offset!(rcv_tstamp)));
            (*found).since_data_sent = elapsed(now, R::load(tcp, offset!(lsndtime)));
        }
    }
}
