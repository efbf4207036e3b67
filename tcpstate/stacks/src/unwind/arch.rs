//! What depends on the processor: x86-64.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use gimli::{Register, X86_64};

use super::Registers;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("stacks are unwound on x86-64 only; this file is what another processor needs");

pub(super) type CfiUnwinder<D> = UnwinderX86_64<D>;
pub(super) type Cache = CacheX86_64;
pub(super) type Regs = UnwindRegsX86_64;

/// `e_machine`-independent: registers by their DWARF numbers.
pub(super) const STACK_POINTER: Register = X86_64::RSP;
pub(super) const FRAME_POINTER: Register = X86_64::RBP;
pub(super) const RETURN_ADDRESS: Register = X86_64::RA;

/// The longest call instruction that names its target in a register or in memory, bytes.
pub(super) const MAX_CALL: usize = 8;

pub(super) fn regs(registers: &Registers) -> Regs {
    Regs::new(registers.ip, registers.sp, registers.fp)
}

/// Whether an instruction that calls ends at the end of `code`: `call rel32`, or `call r/m64` in one of its lengths.
pub(super) fn ends_with_call(code: &[u8]) -> bool {
    let at = |back: usize| code.get(code.len().checked_sub(back)?).copied();
    if at(5) == Some(0xe8) {
        return true;
    }
    (2..=7).any(|length| {
        at(length) == Some(0xff)
            && at(length - 1).is_some_and(|modrm| modrm & 0x38 == 0x10 && operand(modrm, at(length - 2)) == length)
    })
}

/// Length of `ff /2` with this `ModRM` byte and, where it has one, this SIB byte.
fn operand(modrm: u8, sib: Option<u8>) -> usize {
    let has_sib = modrm & 7 == 4;
    let displacement = match modrm >> 6 {
        3 => return 2,
        1 => 1,
        2 => 4,
        _ if modrm & 7 == 5 || (has_sib && sib.is_some_and(|sib| sib & 7 == 5)) => 4,
        _ => 0,
    };
    2 + usize::from(has_sib) + displacement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_every_length() {
        let calls: [&[u8]; 9] = [
            b"\xe8\x01\x02\x03\x04",         // call rel32
            b"\xff\xd0",                     // call *%rax
            b"\x41\xff\xd4",                 // call *%r12
            b"\xff\x10",                     // call *(%rax)
            b"\xff\x50\x08",                 // call *8(%rax)
            b"\xff\x90\x00\x01\x00\x00",     // call *256(%rax)
            b"\xff\x15\x00\x01\x00\x00",     // call *256(%rip)
            b"\x41\xff\x54\xc5\x08",         // call *8(%r13,%rax,8)
            b"\xff\x14\xc5\x00\x10\x40\x00", // call *0x401000(,%rax,8)
        ];
        for call in calls {
            assert!(ends_with_call(call), "{call:x?}");
            assert!(ends_with_call(&[&[0x90; 3], call].concat()), "{call:x?}");
        }
    }

    #[test]
    fn other_code_is_no_call() {
        for code in [&b""[..], b"\xff", b"\x90\x90\x90\x90\x90\x90\x90", b"\xff\xe0", b"\xc3", b"\xff\x50\x08\x90"] {
            assert!(!ends_with_call(code), "{code:x?}");
        }
    }
}
