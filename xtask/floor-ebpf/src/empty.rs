//! Programs that do nothing.
#![no_std]
#![no_main]

mod object;

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

/// At a tracepoint: the cheapest way there is (`__bpf_trace_run()`, `kernel/trace/bpf_trace.c`).
#[raw_tracepoint]
fn at_tracepoint(_ctx: RawTracePointContext) -> i32 {
    0
}

/// At an event of tracefs, such as the exit of a system call.
#[tracepoint]
fn at_event(_ctx: TracePointContext) -> u32 {
    0
}
