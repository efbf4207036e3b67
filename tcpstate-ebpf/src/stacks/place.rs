//! Where in its program a task is, told from other places by one number.
//!
//! Frame pointers are missing from most programs, so a place is told from another by what its return addresses must be among: the
//! words near the stack's top that point into the process's code.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tcpstate_common::leak::{CODE_RANGES, CodeRanges, Registers};

use crate::{
    kernel::current,
    maps::{CODE, EPOCH, MEMOS, RANGES, SCRATCH},
    stacks::capture::PAGE,
};

/// Words at the top of a stack that are looked at to tell places apart.
pub(crate) const PLACE_WORDS: usize = 128;

/// Most return addresses that a memo has room for.
const MEMO_WORDS: usize = 32;

/// Positions of a memo that are looked at in a row.
const BLOCK: usize = 8;

/// Memos of one CPU.
pub(crate) const MEMOS_LEN: u32 = 256;

/// An odd number with its bits well spread (2^64 divided by the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a stack is. What else tells its place from others is on the stack.
pub(crate) struct Seen {
    /// Of the process, the instruction and the depth of the stack.
    seed: u64,
    tgid: u32,
    sp: u64,
    /// Which memo of this CPU is about such stacks.
    memo: u32,
}

impl Seen {
    #[inline(always)]
    pub(crate) fn at(registers: &Registers) -> Self {
        let tgid = current::tgid();
        let seed = mix(mix(registers.ip, u64::from(tgid)), registers.sp & 0xfff);
        Self { seed, tgid, sp: registers.sp, memo: (seed >> 32) as u32 % MEMOS_LEN }
    }
}

/// Reads so many words from the top of the stack. Zeros from the first page on that is not in memory, or not the stack's any more.
///
/// # Safety
///
/// There has to be room for them.
#[inline(always)]
unsafe fn read(words: *mut u64, count: usize, sp: u64) {
    let bytes = (count * size_of::<u64>()) as u32;
    // SAFETY: the caller's promise.
    unsafe {
        if bpf_probe_read_user(words.cast(), bytes, sp as *const _) != 0 {
            let in_page = (PAGE - sp % PAGE) as u32;
            if in_page < bytes {
                bpf_probe_read_user(words.cast(), less_than_all(in_page), sp as *const _);
            }
        }
    }
}

/// The same number of bytes, of which the compiler knows that they are fewer than all words have, and the verifier of kernels before 6.12
/// does not.
#[inline(always)]
fn less_than_all(bytes: u32) -> u32 {
    const { assert!(PLACE_WORDS * size_of::<u64>() == 1024) };
    let mut bytes = u64::from(bytes);
    // SAFETY: changes a register.
    unsafe { asm!("{bytes} &= 1023", bytes = inout(reg) bytes, options(pure, nomem, nostack)) };
    bytes as u32
}

/// Where the words were that told a place from others.
///
/// To look at those alone is enough where that leads to a place that is known: the first return address lies where the instruction
/// says, and each one says where the next one lies, so equal ones make equal chains. A frame of variable size may lie between them; the
/// next copy shows.
#[repr(C)]
pub(crate) struct Memo {
    /// The seed.
    key: u64,
    /// It holds until user space begins another one.
    epoch: u64,
    /// 0 while not known, and when there were too many.
    len: u64,
    /// The position of the last one.
    last: u64,
    /// The place that was met here last, if it is known.
    place: u64,
    /// How often that may be met again before [`PLACES`](crate::maps::PLACES) is asked.
    left: u64,
    positions: [u8; MEMO_WORDS],
}

/// Goes into the identity of a place in place of the stack pointer, where user space has told where the process has code.
const IN_KNOWN_CODE: u64 = 0;

/// What user space has told since when memos hold.
#[inline(always)]
fn epoch() -> u64 {
    // SAFETY: a value in a map.
    EPOCH.get_ptr(0).map_or(0, |epoch| unsafe { epoch.read_volatile() })
}

/// Identity of the place, if it is one that is met again: to be found in [`PLACES`](crate::maps::PLACES), or else it is none.
#[inline(always)]
pub(crate) fn remembered(seen: &Seen) -> u64 {
    let (Some(memo), Some(words)) = (MEMOS.get_ptr(seen.memo), SCRATCH.get_ptr_mut(0)) else { return 0 };
    let words: *mut u64 = words.cast();
    // SAFETY: values in maps. A task that preempts this one may change the memo; what is none of this stack leads to no known place.
    unsafe {
        let len = (*memo).len;
        if (*memo).key != seen.seed || (*memo).epoch != epoch() || len == 0 {
            return 0;
        }
        read(words, (*memo).last as usize % PLACE_WORDS + 1, seen.sp);
        let mut hash = mix(seen.seed, IN_KNOWN_CODE);
        // In blocks: the verifier walks on from each place where the loop is left.
        for block in 0..MEMO_WORDS / BLOCK {
            if (block * BLOCK) as u64 >= len {
                break;
            }
            for index in block * BLOCK..(block + 1) * BLOCK {
                // Volatile, or what is read would be kept on the BPF stack.
                let position = usize::from((&raw const (*memo).positions[index]).read_volatile()) % PLACE_WORDS;
                let within = top_bit((index as u64).wrapping_sub(len));
                hash = choose(within, with_word(hash, *words.add(position), position), hash);
            }
        }
        finish(hash)
    }
}

/// Whether a place was met here of late, so that it need not be looked for.
#[inline(always)]
pub(crate) fn is_familiar(seen: &Seen, place: u64) -> bool {
    let Some(memo) = MEMOS.get_ptr_mut(seen.memo) else { return false };
    // SAFETY: a value in a map; a lost decrement only moves the next copy.
    unsafe {
        let familiar = (*memo).place == place && (*memo).left != 0;
        if familiar {
            (*memo).left -= 1;
        }
        familiar
    }
}

/// A place is known: it may be met so many times before it is looked for again.
#[inline(always)]
pub(crate) fn make_familiar(seen: &Seen, place: u64, times: u64) {
    if let Some(memo) = MEMOS.get_ptr_mut(seen.memo) {
        // SAFETY: as above.
        unsafe {
            (*memo).place = place;
            (*memo).left = times;
        }
    }
}

/// Identity of the place; keeps in mind what has told it.
///
/// While user space has not told where the process has code, only return addresses into the program itself tell callers apart: those
/// in libraries show when the stack is copied again.
#[inline(always)]
pub(crate) fn looked_at(seen: &Seen) -> u64 {
    let (Some(memo), Some(words), Some(code)) =
        (MEMOS.get_ptr_mut(seen.memo), SCRATCH.get_ptr_mut(0), RANGES.get_ptr_mut(0))
    else {
        return finish(seen.seed);
    };
    let words: *mut u64 = words.cast();
    let epoch = epoch();
    // SAFETY: values in maps; the scratch has room for the words.
    unsafe {
        (*memo).len = 0;
        // One copy of the ranges, wherever they come from: the verifier walks on once for each map that a pointer may lead into, and for
        // each value that tells the ways apart. So what is no memo later gets a key that leads nobody to it.
        let beside = if let Some(known) = CODE.get_ptr(seen.tgid) {
            set_ranges(code, |range| range_of(known, range));
            (*memo).key = seen.seed;
            IN_KNOWN_CODE
        } else {
            let program = current::code_of_program();
            set_ranges(code, |range| if range == 0 { program } else { [0; 2] });
            (*memo).key = !seen.seed;
            seen.sp
        };
        let mut hash = mix(seen.seed, beside);
        let mut len = 0;
        let mut last = 0;
        read(words, PLACE_WORDS, seen.sp);
        for position in 0..PLACE_WORDS {
            let word = *words.add(position);
            let is_code = in_code(code, word);
            hash = choose(is_code, with_word(hash, word, position), hash);
            (*memo).positions[len as usize % MEMO_WORDS] = position as u8;
            len += is_code;
            last = choose(is_code, position as u64, last);
        }
        (*memo).epoch = epoch;
        (*memo).last = last;
        (*memo).left = 0;
        (*memo).len = if len > MEMO_WORDS as u64 { 0 } else { len };
        finish(hash)
    }
}

/// The position counts: frames of interpreted code may differ in nothing else.
#[inline(always)]
fn with_word(hash: u64, word: u64, position: usize) -> u64 {
    hash.wrapping_add(word ^ (position as u64) << 48).wrapping_mul(MULTIPLIER)
}

#[inline(always)]
fn finish(hash: u64) -> u64 {
    hash ^ (hash >> 32) | 1
}

/// 1 when a word points into code, else 0.
#[inline(always)]
fn in_code(code: *const CodeRanges, word: u64) -> u64 {
    // The top bit: not before the start, and before the end.
    let inside = |range: usize| {
        let [start, length] = range_of(code, range);
        let from_start = word.wrapping_sub(start);
        from_start.wrapping_sub(length) & !from_start
    };
    const { assert!(CODE_RANGES == 4) };
    top_bit(inside(0) | inside(1) | inside(2) | inside(3))
}

/// Start and length of a range of code. Volatile, or they would be kept on the BPF stack, which has no room for them.
#[inline(always)]
fn range_of(code: *const CodeRanges, range: usize) -> [u64; 2] {
    // SAFETY: values in a map.
    unsafe { [0, 1].map(|word| (&raw const (*code).ranges[range][word]).read_volatile()) }
}

/// Writes the ranges one by one; volatile, or that would be a call, which takes a frame of the BPF stack.
#[inline(always)]
fn set_ranges(code: *mut CodeRanges, of: impl Fn(usize) -> [u64; 2]) {
    for range in 0..CODE_RANGES {
        let words = of(range);
        for (word, value) in words.into_iter().enumerate() {
            // SAFETY: a value in a map.
            unsafe { (&raw mut (*code).ranges[range][word]).write_volatile(value) };
        }
    }
}

/// 1 when the top bit is set, else 0. Nothing branches on it: the processor would guess wrong, and the verifier walk a loop more than
/// once.
#[inline(always)]
fn top_bit(mut word: u64) -> u64 {
    // SAFETY: shifts a register. The compiler would make a branch of what it knows to be 0 or 1; the verifier one of a
    // sign that is spread by an arithmetic shift (`maybe_fork_scalars()`, kernel/bpf/verifier.c, 6.18).
    unsafe { asm!("{word} >>= 63", word = inout(reg) word, options(pure, nomem, nostack)) };
    word
}

/// `then` when `bit` is 1, `or` when it is 0.
#[inline(always)]
fn choose(bit: u64, then: u64, or: u64) -> u64 {
    or ^ (or ^ then) & bit.wrapping_neg()
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}
