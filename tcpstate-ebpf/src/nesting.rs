//! Transitions that interrupt a transition.
//!
//! The kernel does not run a tracing program that is running on this CPU already (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`): a softirq that interrupts the program in process context would lose all the transitions that
//! it makes. A second program on the same tracepoint takes those, and only those. Softirqs don't nest, so two are enough.

use crate::maps::{NESTED, NESTING};

/// Runs the first program's work.
#[inline(always)]
pub(crate) fn outer(work: impl FnOnce()) {
    let nesting = NESTING.get_ptr_mut(0);
    if let Some(nesting) = nesting {
        // SAFETY: this CPU's own value.
        unsafe { nesting.write_volatile(1) };
    }
    work();
    if let Some(nesting) = nesting {
        // SAFETY: as above.
        unsafe { nesting.write_volatile(0) };
    }
}

/// Runs the second program's work where it interrupts the first one's.
#[inline(always)]
pub(crate) fn inner(work: impl FnOnce()) {
    // SAFETY: this CPU's own value.
    if NESTING.get_ptr(0).is_none_or(|nesting| unsafe { nesting.read_volatile() } == 0) {
        return;
    }
    if let Some(nested) = NESTED.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, which only this program writes.
        unsafe { *nested += 1 };
    }
    work();
}
