//! System calls at their classic tracepoints.

use aya_ebpf::programs::TracePointContext;

/// What a system call returns, at its `syscalls:sys_exit_*` tracepoint.
#[inline(always)]
pub(crate) fn result(ctx: &TracePointContext) -> Option<i64> {
    /// Of `ret` in the record (`struct syscall_trace_exit`, kernel/trace/trace.h).
    const RET: usize = 16;
    // SAFETY: the record of the tracepoint.
    unsafe { ctx.read_at(RET) }.ok()
}
