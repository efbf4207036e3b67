//! Transitions that interrupt a transition.
//!
//! The kernel does not run a tracing program that is running on this CPU already (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`): a softirq that interrupts the program in process context would lose all the transitions that
//! it makes. A second program on the same tracepoint takes those, and only those. Softirqs don't nest, so two are enough.

use aya_ebpf::programs::BtfTracePointContext;

use crate::{
    config::is_never,
    maps::{NESTED, NESTING, TRANSITIONS, count},
};

// No function here takes the work as a closure: that would be another frame on the BPF stack.

/// The first program begins.
///
/// It must not have a private stack, of which there is one for each CPU (from 6.13 on): run by the second one while it runs itself,
/// it would overwrite its own variables. A program with a tail call has none (`check_max_stack_depth()`,
/// `kernel/bpf/verifier.c`), even with one that the verifier removes because nothing leads there.
#[inline(always)]
pub(crate) fn enter(ctx: &BtfTracePointContext) {
    if is_never() {
        // SAFETY: it is not there when the program runs.
        unsafe { TRANSITIONS.tail_call(ctx, 0) };
    }
    change(1);
}

/// The first program ends.
#[inline(always)]
pub(crate) fn leave() {
    change(-1);
}

/// What interrupts it in the middle leaves the depth as it was.
#[inline(always)]
fn change(by: i32) {
    if let Some(depth) = NESTING.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { depth.write_volatile(depth.read_volatile() + by) };
    }
}

/// Whether the second program interrupts the first one, and so has work; it is counted.
#[inline(always)]
pub(crate) fn interrupts() -> bool {
    // SAFETY: this CPU's own value.
    if NESTING.get_ptr(0).is_none_or(|depth| unsafe { depth.read_volatile() } == 0) {
        return false;
    }
    if let Some(nested) = NESTED.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, which only this program writes.
        unsafe { *nested += 1 };
    }
    true
}

/// Goes on in the first program, which the kernel does not mind where one calls the other: the verifier need walk it only once.
#[inline(always)]
pub(crate) fn hand_over(ctx: &BtfTracePointContext) {
    // SAFETY: both programs have the same context. The call returns only where there is no such program.
    unsafe { TRANSITIONS.tail_call(ctx, 0) };
    count!(dropped);
}
