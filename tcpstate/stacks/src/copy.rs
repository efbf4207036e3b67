//! A stack as it was copied: what comes in.

use std::ops::Range;

use tcpstate_common::{
    config::STACK_PIECE,
    leak::{KernelStack, Registers, StackHeader},
};

use crate::process::{
    ProcessError,
    stack::{MAX_STACK, read_stack},
};

/// The stack of a thread: registers and bytes, and what the kernel was doing on its behalf.
///
/// The kernel side makes one where a hook meets a socket, [`Self::of_sleeper`] one of a thread that sleeps. All of it was chosen by
/// the program whose thread it is.
#[derive(Clone, Debug)]
pub struct StackCopy<'a> {
    /// Process (thread-group id) in the initial pid namespace.
    pub pid: u32,
    /// Registers of the thread in user space, where the stack begins.
    pub registers: Registers,
    /// Memory from `registers.sp` upwards.
    pub bytes: &'a [u8],
    /// Addresses of it that are not in `bytes`, whatever these hold there: the pages were not in memory.
    pub missing: Vec<Range<u64>>,
    /// Whether the stack may go on where `bytes` end: the copy is as long as it was allowed to be.
    pub may_go_on: bool,
    /// Addresses in the kernel, innermost first; none where they are not wanted.
    pub kernel: &'a [u64],
    /// Whether the thread sleeps. Else a hook met it, and the tracing itself is on its kernel stack.
    pub asleep: bool,
    /// Where the stack of the process's first thread began, where that is known: each program that a process executes has its
    /// own.
    pub start_stack: Option<u64>,
}

impl<'a> StackCopy<'a> {
    /// One of which nothing else is known: all of the stack, of a thread of process `pid`.
    #[must_use]
    pub fn new(pid: u32, registers: Registers, bytes: &'a [u8]) -> Self {
        Self {
            pid,
            registers,
            bytes,
            missing: Vec::new(),
            may_go_on: false,
            kernel: &[],
            asleep: false,
            start_stack: None,
        }
    }

    /// That of a record of the kernel side, which was to copy at most `limit` bytes. `bytes` begin where [`StackHeader::start`] says.
    #[must_use]
    pub fn of_record(header: &StackHeader, kernel: &'a KernelStack, bytes: &'a [u8], limit: usize) -> Self {
        let before = header.registers.sp - StackHeader::start(&header.registers);
        let from_sp = bytes.get(before as usize..).unwrap_or_default();
        Self {
            missing: missing(header),
            may_go_on: bytes.len() >= limit,
            kernel: addresses(kernel),
            start_stack: Some(header.start_stack).filter(|&start| start != 0),
            ..Self::new(header.tgid, header.registers, from_sp)
        }
    }

    /// That of a sleeping thread of process `pid`, whose memory is read into `bytes` now. The thread runs on: if it wakes up, the
    /// copy does not hold together, and unwinding it says so.
    ///
    /// # Errors
    ///
    /// Those of [`read_stack`].
    pub fn of_sleeper(
        pid: u32,
        registers: Registers,
        kernel: &'a KernelStack,
        bytes: &'a mut Vec<u8>,
    ) -> Result<Self, ProcessError> {
        read_stack(pid, registers.sp, MAX_STACK, bytes)?;
        let may_go_on = bytes.len() >= MAX_STACK;
        Ok(Self { may_go_on, kernel: addresses(kernel), asleep: true, ..Self::new(pid, registers, bytes) })
    }
}

/// Addresses of a stack that were not in memory when it was copied.
fn missing(header: &StackHeader) -> Vec<Range<u64>> {
    let start = StackHeader::start(&header.registers);
    let pieces = (0..u64::from(u64::BITS)).filter(|piece| header.missing >> piece & 1 != 0);
    let piece = u64::from(STACK_PIECE);
    // Whoever made the system call chose the stack pointer.
    let begin = |index: u64| start.saturating_add(index * piece);
    pieces.map(|index| begin(index)..begin(index + 1)).collect()
}

/// The part of a kernel stack that was filled.
fn addresses(kernel: &KernelStack) -> &[u64] {
    let frames = usize::try_from(kernel.len).unwrap_or(0) / size_of::<u64>();
    kernel.frames.get(..frames).unwrap_or(&kernel.frames)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn a_record_begins_before_the_stack_pointer() {
        let mut header = StackHeader::zeroed();
        (header.tgid, header.registers.sp, header.missing) = (7, 3 * u64::from(STACK_PIECE) + 24, 0b101);
        let mut kernel = KernelStack::zeroed();
        (kernel.len, kernel.frames[0], kernel.frames[1]) = (8, 71, 72);
        let bytes: Vec<u8> = (0..32).collect();
        let copy = StackCopy::of_record(&header, &kernel, &bytes, 32);
        assert_eq!((copy.pid, copy.bytes, copy.kernel), (7, &bytes[24..], &[71][..]));
        assert!(copy.may_go_on && !copy.asleep && copy.start_stack.is_none());
        let piece = u64::from(STACK_PIECE);
        assert_eq!(copy.missing, [3 * piece..4 * piece, 5 * piece..6 * piece]);
        assert!(!StackCopy::of_record(&header, &kernel, &bytes, 33).may_go_on);
        assert!(StackCopy::of_record(&header, &kernel, &bytes[..24], 33).bytes.is_empty());
    }

    #[test]
    fn whatever_the_kernel_says_of_its_stack() {
        let mut kernel = KernelStack::zeroed();
        for (len, frames) in [(0, 0), (-14, 0), (i64::MIN, 0), (16, 2), (i64::MAX, kernel.frames.len())] {
            kernel.len = len;
            assert_eq!(addresses(&kernel).len(), frames, "{len}");
        }
    }

    #[test]
    fn at_the_end_of_all_addresses() {
        let mut header = StackHeader::zeroed();
        (header.registers.sp, header.missing) = (u64::MAX, u64::MAX);
        let kernel = KernelStack::zeroed();
        let copy = StackCopy::of_record(&header, &kernel, &[], 0);
        assert!(copy.missing.iter().all(|missing| missing.start <= missing.end));
    }
}
