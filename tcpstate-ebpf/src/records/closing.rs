//! [`ClosingRecord`].

use tcpstate_common::leak::{ClosingRecord, KIND_CLOSING};

use crate::{
    kernel::current,
    records::{
        found::{self, Holder},
        ring,
        write::write_record,
    },
    stories::progress::{Known, Seen},
};

/// Sends that the running task closes a socket: since when it was in its state, with the flags of a
/// [`FoundRecord`](tcpstate_common::leak::FoundRecord), and at which place of the task, unless it exits.
#[inline(always)]
pub(crate) fn send(seen: &Seen, known: &Known, since_ns: u64, flags: u8, place: u64, is_exiting: bool) {
    let Some(mut room) = ring::reserve_beside::<ClosingRecord>() else { return };
    // SAFETY: an entry of the ring buffer.
    unsafe {
        write_record!(room.record(), ClosingRecord {
            place: place,
            exiting: u32::from(is_exiting),
            pad: 0;
            [found] => |closing|
                found::write(&raw mut (*closing).found, seen, known, KIND_CLOSING, since_ns, flags, Holder::NONE);
            // Last: the call leaves little room for what is still to be written.
            [by] => |closing| current::write_process(&raw mut (*closing).by)
        });
    }
    room.submit();
}
