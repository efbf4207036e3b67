//! [`FoundRecord`]: a socket as it stands, by itself or at the beginning of a [`ClosingRecord`](tcpstate_common::leak::ClosingRecord).

use aya_ebpf::{helpers::generated::bpf_jiffies64, macros::map, maps::PerCpuArray};
use tcpstate_common::{layout::ABSENT, leak::FoundRecord};

use crate::{
    kernel::{
        iter::Reader,
        read::{Opaque, Probed, Read},
        sock::Sock,
        state::LISTEN,
    },
    records::{transition, write::write_record},
    rodata::{TICK_FREQUENCY, frozen, offset},
    stories::progress::{Known, Seen},
};

/// Ticks that a time may be ahead of a clock that was read before it.
const RACE: u32 = 1000;

/// What an iterator is about to write: too large for the BPF stack.
#[map]
static FOUND: PerCpuArray<FoundRecord> = PerCpuArray::with_max_entries(1, 0);

/// A process that has a descriptor of a socket; zeros for none.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) tgid: u32,
    pub(crate) fd: u32,
    /// When it began.
    pub(crate) start_ns: u64,
}

impl Holder {
    pub(crate) const NONE: Self = Self { tgid: 0, fd: 0, start_ns: 0 };
}

/// Writes a socket for the reader of an iterator: since when it has been in its state, with `FOUND_*` flags, and who holds it.
#[inline(always)]
pub(crate) fn send<R: Read>(reader: Reader, seen: &Seen<R>, known: &Known, since_ns: u64, flags: u8, holder: Holder) {
    let Some(found) = FOUND.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own value, and one iterator runs at a time.
    unsafe {
        write(found, seen, known, 0, since_ns, flags, holder);
        reader.write(&*found);
    }
}

/// # Safety
///
/// `record` has to be writable.
#[inline(always)]
pub(super) unsafe fn write<R: Read>(
    record: *mut FoundRecord,
    seen: &Seen<R>,
    known: &Known,
    kind: u32,
    since_ns: u64,
    flags: u8,
    holder: Holder,
) {
    // SAFETY: the caller's promise.
    unsafe {
        write_record!(record, FoundRecord {
            place: known.owner.place,
            holder_tgid: holder.tgid,
            holder_fd: holder.fd,
            holder_start_ns: holder.start_ns;
            [socket] => |found| transition::write(&raw mut (*found).socket, seen, known, kind, since_ns, flags);
            [recv_q, send_q, since_data_recv, since_ack_recv, since_data_sent, drops, bytes_received, bytes_sent] =>
                |found| write_load(found, seen.sk, seen.old)
        });
    }
}

/// Writes queues and times, as `tcp_diag_get_info()` and `tcp_get_info()` compute them (`net/ipv4/tcp_diag.c`, `tcp.c`).
///
/// # Safety
///
/// `found` has to be writable.
#[inline(always)]
unsafe fn write_load<R: Read>(found: *mut FoundRecord, sk: Sock<R>, state: u8) {
    // SAFETY: the caller's promise; a `struct tcp_sock` that `R` can read.
    unsafe {
        (*found).recv_q = 0;
        (*found).send_q = 0;
        (*found).drops = 0;
        // Volatile, or zeros in a row would be a call of `memset()`, which has a frame of its own on the BPF stack.
        (&raw mut (*found).since_data_recv).write_volatile(0);
        (&raw mut (*found).since_ack_recv).write_volatile(0);
        (&raw mut (*found).since_data_sent).write_volatile(0);
        (&raw mut (*found).bytes_received).write_volatile(0);
        (&raw mut (*found).bytes_sent).write_volatile(0);
        let now = bpf_jiffies64() as u32;
        let tcp = sk.tcp();
        if state == LISTEN {
            (*found).recv_q = sk.backlog();
            (*found).send_q = sk.backlog_limit();
            (*found).drops = sk.drops();
        } else if !tcp.is_null() {
            (*found).recv_q = distance(R::load(tcp, offset!(rcv_nxt)), R::load(tcp, offset!(copied_seq)));
            (*found).send_q = distance(R::load(tcp, offset!(write_seq)), R::load(tcp, offset!(snd_una)));
            (*found).since_data_recv = elapsed_ms(now, R::load(tcp, offset!(lrcvtime)));
            (*found).since_ack_recv = elapsed_ms(now, R::load(tcp, offset!(rcv_tstamp)));
            (*found).since_data_sent = elapsed_ms(now, R::load(tcp, offset!(lsndtime)));
            (*found).bytes_received = R::load(tcp, offset!(bytes_received));
            (*found).bytes_sent = R::load(tcp, offset!(bytes_sent));
        } else {
            write_mptcp_load(found, sk.mptcp(), now);
        }
    }
}

/// The same of a Multipath TCP connection, where the kernel counts what was read of it (6.12 does, 6.1 does not). Its end is not in the
/// queue (`mptcp_check_data_fin()`, `net/mptcp/protocol.c`): it counts as one where data before it is unread, and nothing tells
/// otherwise.
///
/// # Safety
///
/// `found` has to be writable.
#[inline(always)]
unsafe fn write_mptcp_load(found: *mut FoundRecord, mptcp: *const Opaque, now: u32) {
    if mptcp.is_null() || offset!(mptcp_bytes_consumed) == ABSENT || offset!(mptcp_last_ack_recv) == ABSENT {
        return;
    }
    // Into the record itself, and on in there: the BPF stack has no room for more. Of sequence numbers the lower half is enough.
    // SAFETY: the caller's promise; the helper takes any address.
    unsafe {
        Probed::load_into(&raw mut (*found).bytes_received, mptcp, offset!(mptcp_bytes_received));
        Probed::load_into(&raw mut (*found).bytes_sent, mptcp, offset!(mptcp_bytes_consumed));
        let unread = (*found).bytes_received.wrapping_sub((*found).bytes_sent) as u32;
        (*found).recv_q = if unread as i32 > 0 { unread + 1 } else { 0 };
        (*found).bytes_received += 1;
        Probed::load_into(&raw mut (*found).send_q, mptcp, lower_half(offset!(mptcp_write_seq)));
        Probed::load_into(&raw mut (*found).drops, mptcp, lower_half(offset!(mptcp_snd_una)));
        (*found).send_q = distance((*found).send_q, (*found).drops);
        (*found).drops = 0;
        Probed::load_into(&raw mut (*found).since_data_recv, mptcp, offset!(mptcp_last_data_recv));
        (*found).since_data_recv = elapsed_ms(now, (*found).since_data_recv);
        Probed::load_into(&raw mut (*found).since_ack_recv, mptcp, offset!(mptcp_last_ack_recv));
        (*found).since_ack_recv = elapsed_ms(now, (*found).since_ack_recv);
        Probed::load_into(&raw mut (*found).since_data_sent, mptcp, offset!(mptcp_last_data_sent));
        (*found).since_data_sent = elapsed_ms(now, (*found).since_data_sent);
        Probed::load_into(&raw mut (*found).bytes_sent, mptcp, offset!(mptcp_bytes_sent));
    }
}

/// Where the lower half of a word of eight bytes lies.
#[inline(always)]
fn lower_half(offset: u32) -> u32 {
    if cfg!(target_endian = "little") { offset } else { offset + 4 }
}

/// How far a sequence number is ahead of another; 0 when it is not.
#[inline(always)]
fn distance(ahead: u32, behind: u32) -> u32 {
    let distance = ahead.wrapping_sub(behind);
    if distance as i32 > 0 { distance } else { 0 }
}

/// Milliseconds from one jiffy to another; `u32::MAX` where that is too small. Another CPU may have set a time after the clock was read.
/// What is longer ago than half the range is not ahead: a month on a kernel that counts a thousand ticks a second.
#[inline(always)]
fn elapsed_ms(now: u32, then: u32) -> u32 {
    let elapsed = now.wrapping_sub(then);
    if elapsed >= u32::MAX - RACE {
        return 0;
    }
    let milliseconds = (u64::from(elapsed) * 1000).checked_div(u64::from(frozen(&TICK_FREQUENCY))).unwrap_or(0);
    if milliseconds < u64::from(u32::MAX) { milliseconds as u32 } else { u32::MAX }
}
