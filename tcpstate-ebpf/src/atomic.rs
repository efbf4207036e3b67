//! Atomic addition. rustc offers `fetch_add` only where a target has compare-and-swap, which BPF got later than this.

use core::arch::asm;

/// `*value += change`, seen whole by every CPU (`BPF_ATOMIC | BPF_ADD`, in every kernel that has BPF).
///
/// # Safety
///
/// `value` has to be aligned and in a map.
#[inline(always)]
pub(crate) unsafe fn add(value: *mut u64, change: i64) {
    // SAFETY: the caller's promise; the instruction writes nothing else.
    unsafe { asm!("lock *(u64 *)({value} + 0) += {change}", value = in(reg) value, change = in(reg) change) }
}
