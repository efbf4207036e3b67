//! What was delivered and what was not.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tcpstate_common::counters::Counters;

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The counters of this CPU.
#[inline(always)]
pub(crate) fn of_this_cpu() -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(0)
}

/// Adds one to a counter of this CPU.
macro_rules! count {
    ($counter:ident) => {
        if let Some(counters) = $crate::counters::of_this_cpu() {
            // SAFETY: this CPU's own value. Atomic all the same: a softirq may count in the middle of it.
            unsafe { $crate::atomic::add(&raw mut (*counters).$counter, 1) }
        }
    };
}
pub(crate) use count;
