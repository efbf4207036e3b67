//! A program that reads the clock and puts a record as long as that of a transition into a ring buffer.
#![no_std]
#![no_main]

mod object;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::RingBuf,
    programs::RawTracePointContext,
};
use tcpstate_common::event::TransitionRecord;

/// Holds all records of the longest load, since nobody takes them out.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(128 << 20, 0);

/// At a tracepoint.
#[raw_tracepoint]
fn at_tracepoint(_ctx: RawTracePointContext) -> i32 {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(mut record) = RECORDS.reserve::<TransitionRecord>(0) {
        // SAFETY: within the record, which is as large as a `TransitionRecord`; nobody reads the rest of it.
        unsafe { (&raw mut (*record.as_mut_ptr()).ts_ns).write(now) };
        record.submit(u64::from(BPF_RB_NO_WAKEUP));
    }
    0
}
