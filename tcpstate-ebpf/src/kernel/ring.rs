//! Requests of `io_uring`, at the classic tracepoint `io_uring:io_uring_complete`.

use aya_ebpf::programs::TracePointContext;

use crate::{
    kernel::read::{Opaque, Probed, Read},
    rodata::offset,
};

/// `IORING_OP_ACCEPT` (`include/uapi/linux/io_uring.h`).
const ACCEPT: u8 = 13;

/// What a completed request may have accepted.
#[derive(Clone, Copy)]
pub(crate) struct Completion {
    /// A descriptor of the running task, if so.
    pub(crate) fd: u64,
    /// Certainly. A request that goes on (multishot) is not told with its completions (`io_fill_cqe_aux()`, `io_uring/io_uring.c`), so a
    /// number of theirs may be anything.
    pub(crate) is_accept: bool,
}

impl Completion {
    /// `None` of a request that failed or does something else, and of a connection that gets no descriptor but a place among the files
    /// of the ring.
    #[inline(always)]
    pub(crate) fn of(ctx: &TracePointContext) -> Option<Self> {
        /// Of `req` and `res` in the record, as the loader has checked.
        const REQUEST: usize = 16;
        const RESULT: usize = 32;
        // SAFETY: the record of the tracepoint; a helper reads 0 from a bad address.
        unsafe {
            let result: i32 = ctx.read_at(RESULT).ok()?;
            let request: u64 = ctx.read_at(REQUEST).ok()?;
            if result < 0 {
                return None;
            }
            let completion = Self { fd: result as u64, is_accept: request != 0 };
            let request = request as *const Opaque;
            if completion.is_accept
                && (Probed::load::<u8>(request, offset!(io_opcode)) != ACCEPT
                    || Probed::load::<u32>(request, offset!(io_file_slot)) != 0)
            {
                return None;
            }
            Some(completion)
        }
    }
}
