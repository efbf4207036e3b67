//! Where in its program a task is, told from other places by one number.
//!
//! Frame pointers are missing from most programs, so a place is told from another by what its return addresses must be among: the
//! words near the stack's top that point into the process's code.

use core::arch::asm;

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::map, maps::PerCpuArray};
use tcpstate_common::leak::Registers;

use crate::{
    branchless::{choose, top_bit},
    kernel::current,
    stacks::{
        code::Code,
        memo::{MEMO_WORDS, MEMOS_LEN, epoch, memo},
    },
};

/// Words at the top of a stack that are looked at to tell places apart.
const PLACE_WORDS: usize = 128;

/// Positions of a memo that are looked at in a row.
const BLOCK: usize = 8;

/// The smallest page there is.
pub(super) const PAGE: u64 = 4096;

/// An odd number with its bits well spread (2^64 divided by the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Goes into the identity of a place in place of the stack pointer, where user space has told where the process has code.
const IN_KNOWN_CODE: u64 = 0;

/// The part of a user stack that tells places apart.
#[map]
static SCRATCH: PerCpuArray<[u64; PLACE_WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// The top of a stack. What else tells its place from others is below.
pub(super) struct Top {
    /// Of the process, the instruction, the depth of the stack and the frames in an interpreter.
    seed: u64,
    tgid: u32,
    sp: u64,
    /// Which memo of this CPU is about such stacks.
    pub(super) memo: u32,
}

impl Top {
    /// Of the running task's stack where it entered the kernel, and its frames in an interpreter.
    #[inline(always)]
    pub(super) fn of_current(registers: &Registers, interpreted: u64) -> Self {
        let tgid = current::tgid();
        let seed = mix(mix(registers.ip, u64::from(tgid)), registers.sp & 0xfff).wrapping_add(interpreted);
        Self { seed, tgid, sp: registers.sp, memo: (seed >> 32) as u32 % MEMOS_LEN }
    }
}

/// Identity of the place, if it is one that is met again: to be found in the map of places, or else it is none.
#[inline(always)]
pub(super) fn remembered(top: &Top) -> u64 {
    let (Some(memo), Some(words)) = (memo(top.memo), SCRATCH.get_ptr_mut(0)) else { return 0 };
    let words: *mut u64 = words.cast();
    // SAFETY: values in maps; the scratch has room for the words.
    unsafe {
        let len = (*memo).len;
        if (*memo).key != top.seed || (*memo).epoch != epoch() || len == 0 {
            return 0;
        }
        read(words, (*memo).last as usize % PLACE_WORDS + 1, top.sp);
        let mut hash = mix(top.seed, IN_KNOWN_CODE);
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

/// Identity of the place; keeps in mind what has told it.
///
/// While user space has not told where the process has code, only return addresses into the program itself tell callers apart: those
/// in libraries show when the stack is copied again.
#[inline(always)]
pub(super) fn looked_at(top: &Top) -> u64 {
    let (Some(memo), Some(words)) = (memo(top.memo), SCRATCH.get_ptr_mut(0)) else { return finish(top.seed) };
    let Some((code, is_told)) = Code::of_current(top.tgid) else { return finish(top.seed) };
    let words: *mut u64 = words.cast();
    let epoch = epoch();
    // SAFETY: values in maps; the scratch has room for the words.
    unsafe {
        (*memo).len = 0;
        // The verifier walks on once for each value that tells the ways apart. So what is no memo later gets a key that leads nobody to
        // it.
        (*memo).key = if is_told { top.seed } else { !top.seed };
        let mut hash = mix(top.seed, if is_told { IN_KNOWN_CODE } else { top.sp });
        let mut len = 0;
        let mut last = 0;
        read(words, PLACE_WORDS, top.sp);
        for position in 0..PLACE_WORDS {
            let word = *words.add(position);
            let is_code = code.contains(word);
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

/// The position counts: frames of interpreted code may differ in nothing else.
#[inline(always)]
fn with_word(hash: u64, word: u64, position: usize) -> u64 {
    hash.wrapping_add(word ^ (position as u64) << 48).wrapping_mul(MULTIPLIER)
}

#[inline(always)]
fn finish(hash: u64) -> u64 {
    hash ^ (hash >> 32) | 1
}

#[inline(always)]
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}
