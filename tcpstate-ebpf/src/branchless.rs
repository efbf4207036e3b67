//! Choices that nothing branches on: the processor would guess wrong, and the verifier walk a loop more than once.

use core::arch::asm;

/// 1 when the top bit is set, else 0.
#[inline(always)]
pub(crate) fn top_bit(mut word: u64) -> u64 {
    // SAFETY: shifts a register. The compiler would make a branch of what it knows to be 0 or 1; the verifier one of a
    // sign that is spread by an arithmetic shift (`maybe_fork_scalars()`, kernel/bpf/verifier.c, 6.18).
    unsafe { asm!("{word} >>= 63", word = inout(reg) word, options(pure, nomem, nostack)) };
    word
}

/// `then` when `bit` is 1, `or` when it is 0.
#[inline(always)]
pub(crate) fn choose(bit: u64, then: u64, or: u64) -> u64 {
    or ^ (or ^ then) & bit.wrapping_neg()
}
