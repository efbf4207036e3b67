//! The ring buffer of events.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{RingBuf, ring_buf::RingBufEntry},
};
use tcpstate_common::counters::Counters;

use crate::{
    atomic,
    counters::{self, count},
    rodata::config,
};

/// After so many records of a CPU it looks at how full the buffer is: asking costs more than it is worth for each.
const WAKEUP_EVERY: u64 = 8;

/// Records for user space. The loader sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Room for a record. What takes it has to be submitted. No closure writes it: one that is used twice has a frame of its own on the
/// BPF stack.
pub(super) struct Room<T: 'static> {
    entry: RingBufEntry<T>,
    counters: *mut Counters,
}

/// Room for a transition; `None` when there is none, which is counted.
#[inline(always)]
pub(super) fn reserve<T: 'static>() -> Option<Room<T>> {
    let counters = counters::of_this_cpu()?;
    let Some(entry) = EVENTS.reserve::<T>(0) else {
        count!(dropped);
        return None;
    };
    Some(Room { entry, counters })
}

/// Room for what is no transition, or tells more of one than it says itself.
#[inline(always)]
pub(super) fn reserve_beside<T: 'static>() -> Option<Room<T>> {
    let room = reserve();
    if room.is_none() {
        count!(dropped_beside);
    }
    room
}

impl<T: 'static> Room<T> {
    /// Where the record has to be written.
    #[inline(always)]
    pub(super) fn record(&mut self) -> *mut T {
        self.entry.as_mut_ptr()
    }

    /// Submits the record. User space is woken only when much is waiting, which is looked at now and then; a timer does the rest.
    #[inline(always)]
    pub(super) fn submit(self) {
        // SAFETY: this CPU's own value; a softirq may count in between.
        let due = unsafe { (&raw const (*self.counters).submitted).read_volatile() } % WAKEUP_EVERY == 0;
        let much = due && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= u64::from(config!(wakeup_bytes));
        self.entry.submit(u64::from(if much { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
        // SAFETY: a value in the map; atomic because of that softirq.
        unsafe { atomic::add(&raw mut (*self.counters).submitted, 1) };
    }
}
