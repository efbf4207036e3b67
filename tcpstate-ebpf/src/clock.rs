//! The clock of all times here.

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { aya_ebpf::helpers::bpf_ktime_get_ns() }
}
