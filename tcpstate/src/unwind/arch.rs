//! What depends on the processor: x86-64.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use gimli::{Register, X86_64};

use super::Registers;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("stacks are unwound on x86-64 only; this file is what another processor needs");

pub(super) type Unwinder<D> = UnwinderX86_64<D>;
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

/// Where the end of a function finds what it returns with, in bytes from the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epilogue {
    pub(super) return_address: u64,
    pub(super) saved_fp: Option<u64>,
}

/// Reads `code` as the end of a function: `add $n,%rsp` and `pop`, up to `ret`. `None`: it does anything else.
pub(super) fn epilogue(mut code: &[u8]) -> Option<Epilogue> {
    let mut offset = 0;
    let mut saved_fp = None;
    loop {
        (offset, code) = match code {
            [0xc3, ..] => return Some(Epilogue { return_address: offset, saved_fp }),
            [0x48, 0x83, 0xc4, n @ 0..0x80, rest @ ..] => (offset + u64::from(*n), rest),
            [0x48, 0x81, 0xc4, a, b, c, d @ 0..0x80, rest @ ..] => {
                (offset + u64::from(u32::from_le_bytes([*a, *b, *c, *d])), rest)
            }
            [0x5d, rest @ ..] => {
                saved_fp = Some(offset);
                (offset + 8, rest)
            }
            // Not `pop %rsp`.
            [0x58..=0x5b | 0x5e..=0x5f, rest @ ..] | [0x41, 0x58..=0x5f, rest @ ..] => (offset + 8, rest),
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_functions() {
        let end = |return_address, saved_fp| Some(Epilogue { return_address, saved_fp });
        assert_eq!(epilogue(b"\xc3"), end(0, None));
        assert_eq!(epilogue(b"\x48\x83\xc4\x08\xc3\xcc"), end(8, None));
        assert_eq!(epilogue(b"\x48\x81\xc4\x00\x01\x00\x00\x5b\x5d\x41\x5c\xc3"), end(256 + 24, Some(256 + 8)));
        assert_eq!(epilogue(b"\x5d\xc3"), end(8, Some(0)));
        for other in
            [&b""[..], b"\x90\xc3", b"\x5c\xc3", b"\x48\x83\xc4\xf8\xc3", b"\xc9\xc3", b"\x5d\x5d", b"\x48\x83\xc4"]
        {
            assert_eq!(epilogue(other), None, "{other:x?}");
        }
    }

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
