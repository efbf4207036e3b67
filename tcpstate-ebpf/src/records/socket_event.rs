//! [`SocketEvent`].

use tcpstate_common::{
    event::TaskRecord,
    leak::{KIND_CLOSED, KIND_LEFT, SocketEvent},
};

use crate::{
    clock::now_ns,
    records::{ring, write::write_record},
    stories::{
        progress::{Known, Seen},
        story::Story,
    },
};

/// A socket leaves CLOSE_WAIT; `is_over` when nothing else comes about it. Returns whether there was room.
#[inline(always)]
pub(crate) fn send_left(seen: &Seen, known: &Known, actor: TaskRecord, place: u64, is_over: bool) -> bool {
    let kind = if is_over { KIND_CLOSED } else { KIND_LEFT };
    send((kind, seen.new), seen.now, (known.cookie, seen.sk.address()), actor, place)
}

/// Something else happens to a socket of which `story` tells, at the address `key`.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn send_of(story: *const Story, key: u64, kind: u32, actor: TaskRecord, place: u64) {
    // SAFETY: the caller's promise.
    let cookie = unsafe { (*story).cookie };
    send((kind, 0), now_ns(), (cookie, key), actor, place);
}

#[inline(always)]
fn send((kind, new_state): (u32, u8), ts_ns: u64, (cookie, skaddr): (u64, u64), actor: TaskRecord, place: u64) -> bool {
    let Some(mut room) = ring::reserve_beside::<SocketEvent>() else { return false };
    // Field by field, or all of it would be made on the BPF stack first.
    // SAFETY: an entry of the ring buffer.
    unsafe {
        write_record!(
            room.record(),
            SocketEvent {
                kind: kind,
                new_state: new_state,
                pad: [0; 3],
                ts_ns: ts_ns,
                cookie: cookie,
                skaddr: skaddr,
                actor: actor,
                place: place
            }
        );
    }
    room.submit();
    true
}
