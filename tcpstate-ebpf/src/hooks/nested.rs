//! Transitions that interrupt a transition.
//!
//! The kernel does not run a tracing program that is running on this CPU already (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`): a softirq that interrupts the program in process context would lose all the transitions that
//! it makes. A second program on the same tracepoint takes those, and only those. Softirqs don't nest, so two are enough.
//!
//! The first program marks what it takes, and the second one, which the kernel runs right after it, looks for the mark. To count
//! how many run would not do: between the kernel's own mark and the first instruction of the program, and after its last
//! one, interrupting transitions are skipped, too.

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, ProgramArray},
    programs::BtfTracePointContext,
};

use crate::{armed::is_armed, counters::count, kernel::sock::Sock, rodata::is_never, stories::story::Story};

/// Which transition the programs for transitions are at.
#[map]
static TAKEN: PerCpuArray<Taken> = PerCpuArray::with_max_entries(1, 0);

/// Transitions that interrupted the first program and were taken by the second one.
#[map]
static NESTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The first program. User space enters it.
#[map]
static TRANSITIONS: ProgramArray = ProgramArray::with_max_entries(1, 0);

// No function here takes the work as a closure: that would be another frame on the BPF stack.

/// What the programs of a CPU say to each other.
#[repr(C)]
struct Taken {
    /// The transition that the first one has begun and the second one has not seen yet.
    by_first: Name,
    /// The transition that the second one is about to hand over.
    handed: Name,
}

/// Tells a transition from those before and after it; zeros tell none. Not one number: the verifier lets nobody calculate with
/// an address.
#[derive(Clone, Copy)]
#[repr(C)]
struct Name {
    skaddr: u64,
    /// The old and the new state.
    states: u64,
}

impl Name {
    const NONE: Self = Self { skaddr: 0, states: 0 };

    #[inline(always)]
    fn of(ctx: &BtfTracePointContext) -> Self {
        let (old, new) = (ctx.arg::<i32>(1) as u32, ctx.arg::<i32>(2) as u32);
        let states = u64::from(old) << 32 | u64::from(new);
        Self { skaddr: Sock::new(ctx.arg(0)).address(), states }
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.skaddr == other.skaddr && self.states == other.states
    }
}

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
    let Some(taken) = TAKEN.get_ptr_mut(0) else { return };
    let this = Name::of(ctx);
    // SAFETY: this CPU's own value; what interrupts in between leaves a transition of another socket.
    unsafe {
        // The second program has seen it already, and the mark is that of the transition that it interrupts.
        if (&raw const (*taken).handed).read_volatile().is(this) {
            (&raw mut (*taken).handed).write_volatile(Name::NONE);
        } else {
            (&raw mut (*taken).by_first).write_volatile(this);
        }
    }
}

/// Whether the first program was not run for a transition, and so the second one has work; it is counted.
#[inline(always)]
pub(crate) fn interrupts(ctx: &BtfTracePointContext) -> bool {
    let Some(taken) = TAKEN.get_ptr_mut(0) else { return false };
    let this = Name::of(ctx);
    // SAFETY: as above.
    unsafe {
        if (&raw const (*taken).by_first).read_volatile().is(this) || is_told(ctx) {
            (&raw mut (*taken).by_first).write_volatile(Name::NONE);
            return false;
        }
        (&raw mut (*taken).handed).write_volatile(this);
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
    if is_armed() {
        count!(dropped);
    }
}

/// Whether the story of a socket has come to this transition. The mark of a transition is lost where others come between its two
/// programs, or where the task goes on on another CPU there (as it may when the kernel is preemptible).
#[inline(always)]
fn is_told(ctx: &BtfTracePointContext) -> bool {
    let new = ctx.arg::<i32>(2) as u8;
    // SAFETY: a value in the map.
    Story::of(Sock::new(ctx.arg(0))).is_some_and(|story| unsafe { (*story).state } == new)
}
