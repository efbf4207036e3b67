//! [`TransitionRecord`], by itself or at the beginning of another record, and [`EnteredRecord`].

use tcpstate_common::{
    event::{KIND_TRANSITION, TransitionRecord},
    leak::{EnteredRecord, KIND_ENTERED},
    state::TcpState,
};

use crate::{
    counters::count,
    kernel::read::Read,
    records::{ring, write::write_record},
    stories::progress::{Known, Seen},
};

/// Sends a transition.
#[inline(always)]
pub(crate) fn send(seen: &Seen, known: &Known) {
    if TcpState::try_from(seen.old).is_err() || TcpState::try_from(seen.new).is_err() {
        count!(unknown_state);
    }
    let Some(mut room) = ring::reserve::<TransitionRecord>() else { return };
    // SAFETY: an entry of the ring buffer.
    unsafe { write_seen(room.record(), seen, known, KIND_TRANSITION) };
    room.submit();
}

/// Sends a transition into CLOSE_WAIT.
#[inline(always)]
pub(crate) fn send_entered(seen: &Seen, known: &Known) {
    let Some(mut room) = ring::reserve::<EnteredRecord>() else { return };
    // SAFETY: an entry of the ring buffer.
    unsafe {
        write_record!(room.record(), EnteredRecord {
            place: known.owner.place;
            [transition] => |entered| write_seen(&raw mut (*entered).transition, seen, known, KIND_ENTERED)
        });
    }
    room.submit();
}

/// # Safety
///
/// `record` has to be writable.
#[inline(always)]
unsafe fn write_seen(record: *mut TransitionRecord, seen: &Seen, known: &Known, kind: u32) {
    // SAFETY: the caller's promise.
    unsafe { write(record, seen, known, kind, known.in_old_ns, known.flags) }
}

/// Writes a socket at a moment; what `in_old_ns` and `flags` are, the kind of the record says.
///
/// # Safety
///
/// `record` has to be writable.
#[inline(always)]
pub(super) unsafe fn write<R: Read>(
    record: *mut TransitionRecord,
    seen: &Seen<R>,
    known: &Known,
    kind: u32,
    in_old_ns: u64,
    flags: u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        write_record!(
            record,
            TransitionRecord {
                kind: kind,
                old_state: seen.old,
                new_state: seen.new,
                owner_source: known.owner.source,
                flags: flags,
                ts_ns: seen.now,
                in_old_ns: in_old_ns,
                id: known.id,
                cookie: known.cookie,
                owner: known.owner.owner,
                skaddr: seen.sk.address(),
                cgroup_id: seen.socket.cgroup_id,
                netns: seen.socket.netns,
                uid: seen.sk.uid(),
                local_addr: seen.socket.local.addr,
                remote_addr: seen.socket.remote.addr,
                local_port: seen.socket.local.port,
                remote_port: seen.socket.remote.port,
                family: seen.socket.family,
                protocol: seen.sk.protocol()
            }
        );
    }
}
