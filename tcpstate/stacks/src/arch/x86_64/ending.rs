//! How a function gives back its frame, read from the code that follows a call: that says where its caller is, without unwind
//! info and whatever the function uses the frame pointer for.
//!
//! Compilers that run in the process make frames of a fixed size, and the frame pointer stays the caller's or becomes any
//! register: `C2_MacroAssembler::verified_entry()` of JDK 17 and its counterpart, `add $n,%rsp; pop %rbp; ret`. Others keep
//! it, and take their stack pointer from it in the end: `TurboAssembler::LeaveFrame()` of V8 10.2. Either end is found by
//! following the code: what the instructions on the way do to the stack pointer is known, or the way is left.

use std::collections::HashSet;

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::{
    call::{CallTarget, leads_to},
    code::{CodeReader, Waypoint, execute},
};

/// Instructions that are followed from one call. The code of a runtime is large, and most ways end soon.
const MAX_INSTRUCTIONS: usize = 2048;

/// What a function returns with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With what lies there, in bytes from the stack pointer.
    StackPointer { return_address: u64, saved_fp: Option<u64> },
    /// With what the frame pointer points to.
    FramePointer,
}

/// A way that is followed.
#[derive(Clone, Copy)]
struct Way {
    /// Its depth is below 0 where more was popped than pushed.
    step: Waypoint,
    /// Where the frame pointer was restored from, in bytes from the stack pointer at the beginning.
    saved_fp: Option<i64>,
    /// Whether the frame pointer is still what it was at the beginning.
    keeps_fp: bool,
    /// Whether the instruction before restored the frame pointer by popping it.
    popped_fp: bool,
}

/// How the function ends that goes on at `ip`. `read` gives code, up to [`CODE_PIECE`](super::CODE_PIECE). `None`: no way was found to its end.
pub(crate) fn ending(ip: u64, read: impl FnMut(u64) -> Option<Vec<u8>>) -> Option<Ending> {
    let mut code = CodeReader::new(read);
    let step = Waypoint { address: ip, depth: 0, saved_fp: None };
    let mut ways = vec![Way { step, saved_fp: None, keeps_fp: true, popped_fp: false }];
    let mut seen = HashSet::new();
    while let Some(mut way) = ways.pop() {
        loop {
            if !seen.insert(way.step.address) || seen.len() > MAX_INSTRUCTIONS {
                break;
            }
            let Some(instruction) = code.at(way.step.address) else { break };
            if frees_by_frame_pointer(&instruction) {
                if way.keeps_fp {
                    return Some(Ending::FramePointer);
                }
                break;
            }
            let flow = instruction.flow_control();
            let jumps = matches!(flow, FlowControl::UnconditionalBranch | FlowControl::IndirectBranch);
            // A function that never returns still throws, by a jump that leaves its frame as returning would.
            if flow == FlowControl::Return || (jumps && way.popped_fp) {
                match way.end() {
                    Some(ending) => return Some(ending),
                    None => break,
                }
            }
            let Some(after) = way.execute(&instruction) else { break };
            match (flow, leads_to(&instruction)) {
                (FlowControl::UnconditionalBranch, Some(CallTarget::Here(address))) => way = after.at(address),
                (FlowControl::ConditionalBranch, Some(CallTarget::Here(address))) => {
                    ways.push(after.at(address));
                    way = after;
                }
                (FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall, _) => way = after,
                _ => break,
            }
        }
    }
    None
}

impl Way {
    fn at(self, address: u64) -> Self {
        Self { step: Waypoint { address, ..self.step }, ..self }
    }

    fn end(self) -> Option<Ending> {
        let from_start = |depth: i64| u64::try_from(depth).ok();
        let saved_fp = match self.saved_fp {
            Some(saved) => Some(from_start(saved)?),
            None if self.keeps_fp => None,
            None => return None,
        };
        Some(Ending::StackPointer { return_address: from_start(-self.step.depth)?, saved_fp })
    }

    /// `None`: the stack pointer cannot be followed, or nothing is executed after this.
    fn execute(self, instruction: &Instruction) -> Option<Self> {
        // Runtimes put one where code must not get, behind a call that does not return.
        if instruction.mnemonic() == Mnemonic::Hlt {
            return None;
        }
        let step = execute(instruction, self.step)?;
        let mut after = Self { step, popped_fp: false, ..self };
        if writes_frame_pointer(instruction) {
            after.keeps_fp = false;
            after.popped_fp = instruction.mnemonic() == Mnemonic::Pop;
            let is_load = instruction.mnemonic() == Mnemonic::Mov
                && instruction.op1_kind() == OpKind::Memory
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None;
            after.saved_fp = if after.popped_fp {
                Some(-self.step.depth)
            } else {
                is_load.then(|| instruction.memory_displacement64().cast_signed() - self.step.depth)
            };
        }
        Some(after)
    }
}

/// `leave`, or the stack pointer from a place that is relative to the frame pointer.
fn frees_by_frame_pointer(instruction: &Instruction) -> bool {
    let to_stack_pointer = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    match instruction.mnemonic() {
        Mnemonic::Leave => true,
        Mnemonic::Mov | Mnemonic::Lea if to_stack_pointer => match instruction.op1_kind() {
            OpKind::Register => instruction.op1_register() == Register::RBP,
            OpKind::Memory => instruction.memory_base() == Register::RBP,
            _ => false,
        },
        _ => false,
    }
}

/// Whether it may: what only reads it, and is not known to, counts.
fn writes_frame_pointer(instruction: &Instruction) -> bool {
    let is = |kind, register: Register| kind == OpKind::Register && register.full_register() == Register::RBP;
    match instruction.mnemonic() {
        Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push | Mnemonic::Call => false,
        Mnemonic::Xchg | Mnemonic::Xadd if is(instruction.op1_kind(), instruction.op1_register()) => true,
        _ => is(instruction.op0_kind(), instruction.op0_register()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x7f00_0000_1000;

    fn of(code: &[u8]) -> Option<Ending> {
        ending(BASE, |address| Some(code.get(usize::try_from(address.checked_sub(BASE)?).ok()?..)?.to_vec()))
    }

    fn by_stack_pointer(return_address: u64, saved_fp: Option<u64>) -> Option<Ending> {
        Some(Ending::StackPointer { return_address, saved_fp })
    }

    #[test]
    fn no_code_at_the_end_of_all_addresses() {
        for ip in [u64::MAX, u64::MAX - 14, u64::MAX - 15, 0] {
            assert_eq!(ending(ip, |_| None), None, "{ip:#x}");
        }
    }

    #[test]
    fn nothing_but_the_end() {
        assert_eq!(of(b"\xc3"), by_stack_pointer(0, None));
        assert_eq!(of(b"\x48\x83\xc4\x08\xc3\xcc"), by_stack_pointer(8, None));
        assert_eq!(of(b"\x48\x81\xc4\x00\x01\x00\x00\x5b\x5d\x41\x5c\xc3"), by_stack_pointer(256 + 24, Some(256 + 8)));
        assert_eq!(of(b"\x48\x8b\x6c\x24\x08\x48\x83\xc4\x18\xc3"), by_stack_pointer(24, Some(8)));
    }

    /// As C2 of JDK 17 ends a method: behind branches, a call and a jump, with a poll before it returns.
    #[test]
    fn a_frame_of_fixed_size() {
        let code = [
            &b"\x85\xc0"[..],                // test %eax,%eax
            b"\x74\x02",                     // je over the next
            b"\xff\xe0",                     // jmp *%rax
            b"\xbd\x01\x00\x00\x00",         // mov $1,%ebp
            b"\xe8\x00\x00\x00\x00",         // call
            b"\xeb\x01",                     // jmp over the next
            b"\xf4",                         // hlt
            b"\x48\x83\xc4\x20",             // add $32,%rsp
            b"\x5d",                         // pop %rbp
            b"\x49\x3b\xa7\x38\x03\x00\x00", // cmp 0x338(%r15),%rsp
            b"\x0f\x87\x01\x00\x00\x00",     // ja over the next
            b"\xc3",                         // ret
        ]
        .concat();
        assert_eq!(of(&code), by_stack_pointer(40, Some(32)));
    }

    #[test]
    fn a_function_that_only_throws() {
        assert_eq!(of(b"\x48\x83\xc4\x20\x5d\xe9\x00\x10\x00\x00"), by_stack_pointer(40, Some(32)));
        assert_eq!(of(b"\x48\x83\xc4\x20\xe9\x00\x10\x00\x00"), None, "any jump");
    }

    #[test]
    fn the_frame_pointer_is_kept() {
        for code in [
            &b"\x90\xc9\xc3"[..],        // leave
            b"\x48\x89\xec\x5d\xc3",     // mov %rbp,%rsp; pop %rbp
            b"\x48\x8d\x65\xf0\x5b\xc3", // lea -16(%rbp),%rsp
            b"\x48\x8b\x65\xf0\xff\xe0", // mov -16(%rbp),%rsp: an interpreter goes on
            b"\x6a\x01\xff\xd0\xc9\xc3", // push $1; call *%rax; leave
        ] {
            assert_eq!(of(code), Some(Ending::FramePointer), "{code:x?}");
        }
    }

    #[test]
    fn what_tells_nothing() {
        for code in [
            &b""[..],
            b"\x90",
            b"\xeb\xfe",             // jmp to itself
            b"\x5c\xc3",             // pop %rsp
            b"\x48\x01\xc4\xc3",     // add %rax,%rsp
            b"\x48\x83\xc4\xf8\xc3", // add $-8,%rsp: what it returns with is not on the stack yet
            b"\x31\xed\xc9\xc3",     // xor %ebp,%ebp; leave
            b"\x31\xed\xc3",         // xor %ebp,%ebp; ret
            b"\xf4\xc3",             // hlt
        ] {
            assert_eq!(of(code), None, "{code:x?}");
        }
    }
}
