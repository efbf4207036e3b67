//! Where a process has code: a return address lies there.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use tcpstate_common::leak::{CODE_RANGES, CodeRanges, MAX_CODE};

use crate::{branchless::top_bit, kernel::current};

/// Where the code of a process lies, by thread-group id; user space enters a process when it gets a stack of it. Processes
/// end without a word; what makes room is the one that has not opened or read anything for longest.
#[map]
static CODE: LruHashMap<u32, CodeRanges> = LruHashMap::with_max_entries(MAX_CODE, 0);

/// Where the process has code whose stack is being looked at.
#[map]
static RANGES: PerCpuArray<CodeRanges> = PerCpuArray::with_max_entries(1, 0);

/// Where a process has its code.
#[derive(Clone, Copy)]
pub(super) struct Code(*const CodeRanges);

impl Code {
    /// Of the running task, whose process is `tgid`, and whether user space has told it: until then only the program's own code is
    /// known, and that of libraries is not. Holds until the next call on this CPU.
    ///
    /// One copy of the ranges, wherever they come from: the verifier walks on once for each map that a pointer may lead into.
    #[inline(always)]
    pub(super) fn of_current(tgid: u32) -> Option<(Self, bool)> {
        let ranges = RANGES.get_ptr_mut(0)?;
        let is_told = if let Some(told) = CODE.get_ptr(tgid) {
            set(ranges, |range| get(told, range));
            true
        } else {
            let program = current::code_of_program();
            set(ranges, |range| if range == 0 { program } else { [0; 2] });
            false
        };
        Some((Self(ranges), is_told))
    }

    /// 1 when a word points into it, else 0.
    #[inline(always)]
    pub(super) fn contains(self, word: u64) -> u64 {
        // The top bit: not before the start, and before the end.
        let inside = |range: usize| {
            let [start, length] = get(self.0, range);
            let from_start = word.wrapping_sub(start);
            from_start.wrapping_sub(length) & !from_start
        };
        const { assert!(CODE_RANGES == 4) };
        top_bit(inside(0) | inside(1) | inside(2) | inside(3))
    }
}

/// Start and length of a range. Volatile, or they would be kept on the BPF stack, which has no room for them.
#[inline(always)]
fn get(code: *const CodeRanges, range: usize) -> [u64; 2] {
    // SAFETY: values in a map.
    unsafe { [0, 1].map(|word| (&raw const (*code).ranges[range][word]).read_volatile()) }
}

/// Writes the ranges one by one; volatile, or that would be a call, which takes a frame of the BPF stack.
#[inline(always)]
fn set(code: *mut CodeRanges, of: impl Fn(usize) -> [u64; 2]) {
    for range in 0..CODE_RANGES {
        let words = of(range);
        for (word, value) in words.into_iter().enumerate() {
            // SAFETY: a value in a map.
            unsafe { (&raw mut (*code).ranges[range][word]).write_volatile(value) };
        }
    }
}
