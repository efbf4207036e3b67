//! Call instructions: told by their last bytes, and where they lead.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind};

use super::code::CodeReader;

/// The longest call instruction that names its target in a register or in memory, bytes.
pub(crate) const MAX_CALL: usize = 8;

/// Where a call leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallTarget {
    /// To this address of the same file.
    Here(u64),
    /// To what the word at this address of the file says: of a table that the dynamic linker filled in.
    Table(u64),
}

/// Where the call leads that ends before `end`: `call rel32`, or `call *table(%rip)`. `read` gives code, up to
/// [`CODE_PIECE`](super::CODE_PIECE).
pub(crate) fn called(end: u64, mut read: impl FnMut(u64) -> Option<Vec<u8>>) -> Option<CallTarget> {
    [5, 6].into_iter().find_map(|length| {
        let call = CodeReader::new(&mut read).at(end.checked_sub(length)?)?;
        if call.mnemonic() != Mnemonic::Call || call.next_ip() != end {
            return None;
        }
        match leads_to(&call)? {
            // A stub of the procedure linkage table.
            here @ CallTarget::Here(stub) => Some(stub_of(stub, &mut read).unwrap_or(here)),
            table @ CallTarget::Table(_) => Some(table),
        }
    })
}

/// The table entry that the code at `address` jumps by, if it does nothing else.
fn stub_of(address: u64, read: impl FnMut(u64) -> Option<Vec<u8>>) -> Option<CallTarget> {
    let mut code = CodeReader::new(read);
    let mut instruction = code.at(address)?;
    if instruction.mnemonic() == Mnemonic::Endbr64 {
        instruction = code.at(instruction.next_ip())?;
    }
    if instruction.flow_control() == FlowControl::IndirectBranch { leads_to(&instruction) } else { None }
}

/// Where a branch or a call leads.
pub(super) fn leads_to(instruction: &Instruction) -> Option<CallTarget> {
    match instruction.op0_kind() {
        OpKind::NearBranch64 => Some(CallTarget::Here(instruction.near_branch_target())),
        OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
            Some(CallTarget::Table(instruction.ip_rel_memory_address()))
        }
        _ => None,
    }
}

/// Whether an instruction that calls ends at the end of `code`: `call rel32`, or `call r/m64` in one of its lengths.
pub(crate) fn ends_with_call(code: &[u8]) -> bool {
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
