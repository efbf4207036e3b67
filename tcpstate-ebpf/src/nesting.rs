//! Transitions that interrupt a transition.
//!
//! The kernel does not run a tracing program that is running on this CPU already (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`): a softirq that interrupts the program in process context would lose all the transitions that
//! it makes. A second program on the same tracepoint takes those, and only those. Softirqs don't nest, so two are enough.

use crate::maps::{NESTED, NESTING};

// No function here takes the work as a closure: that would be another frame on the BPF stack.

/// The first program begins.
#[inline(always)]
pub(crate) fn enter() {
    set(1);
}

/// The first program ends.
#[inline(always)]
pub(crate) fn leave() {
    set(0);
}

#[inline(always)]
fn set(running: u32) {
    if let Some(nesting) = NESTING.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { nesting.write_volatile(running) };
    }
}

/// Whether the second program interrupts the first one, and so has work; it is counted.
#[inline(always)]
pub(crate) fn interrupts() -> bool {
    // SAFETY: this CPU's own value.
    if NESTING.get_ptr(0).is_none_or(|nesting| unsafe { nesting.read_volatile() } == 0) {
        return false;
    }
    if let Some(nested) = NESTED.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, which only this program writes.
        unsafe { *nested += 1 };
    }
    true
}
