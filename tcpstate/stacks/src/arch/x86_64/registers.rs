//! Registers that unwinding follows.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use gimli::{Register, X86_64};
use tcpstate_common::leak::Registers;

/// What executes unwind info.
pub(crate) type CfiUnwinder<D> = UnwinderX86_64<D>;
/// What that remembers of addresses.
pub(crate) type Cache = CacheX86_64;
/// Registers as they are followed from frame to frame.
pub(crate) type Regs = UnwindRegsX86_64;

/// Registers by their DWARF numbers.
pub(super) const STACK_POINTER: Register = X86_64::RSP;
pub(super) const FRAME_POINTER: Register = X86_64::RBP;
pub(super) const RETURN_ADDRESS: Register = X86_64::RA;

/// Those of the innermost frame.
pub(crate) fn regs(registers: &Registers) -> Regs {
    Regs::new(registers.ip, registers.sp, registers.bp)
}
