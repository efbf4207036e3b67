//! Code as it is decoded, and what it does to the stack pointer.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Size of an address, bytes.
const WORD: i64 = 8;
/// Longest instruction, bytes (Intel SDM, volume 2, 2.3.11).
const MAX_LENGTH: usize = 15;
/// Bytes of code that are read at a time at most.
pub(crate) const CODE_PIECE: usize = 1024;

/// Code, decoded where it is asked for.
pub(super) struct CodeReader<R> {
    /// Gives the code from an address on, up to [`CODE_PIECE`].
    read: R,
    start: u64,
    bytes: Vec<u8>,
}

impl<R: FnMut(u64) -> Option<Vec<u8>>> CodeReader<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, start: 0, bytes: Vec::new() }
    }

    pub(super) fn at(&mut self, address: u64) -> Option<Instruction> {
        let within = |code: &Self| {
            let into = usize::try_from(address.checked_sub(code.start)?).ok()?;
            into.checked_add(MAX_LENGTH).is_some_and(|end| end <= code.bytes.len()).then_some(into)
        };
        let into = match within(self) {
            Some(into) => into,
            None => {
                self.bytes = (self.read)(address)?;
                self.start = address;
                0
            }
        };
        let mut decoder = Decoder::with_ip(64, &self.bytes[into..], address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        (!instruction.is_invalid()).then_some(instruction)
    }
}

/// A point on a way through code, and what was pushed until there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waypoint {
    pub(super) address: u64,
    pub(super) depth: i64,
    pub(super) saved_fp: Option<i64>,
}

/// What one instruction does to the stack. `None`: the stack pointer cannot be followed.
pub(super) fn execute(instruction: &Instruction, step: Waypoint) -> Option<Waypoint> {
    let mut after = Waypoint { address: instruction.next_ip(), ..step };
    let is_call = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
    let to_stack_pointer = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    match instruction.mnemonic() {
        _ if is_call => {}
        Mnemonic::Sub if to_stack_pointer => after.depth += immediate(instruction)?,
        Mnemonic::Add if to_stack_pointer => after.depth -= immediate(instruction)?,
        Mnemonic::Lea if to_stack_pointer => {
            let plain = instruction.memory_base() == Register::RSP && instruction.memory_index() == Register::None;
            after.depth -= if plain { instruction.memory_displacement64().cast_signed() } else { return None };
        }
        Mnemonic::Enter | Mnemonic::Leave => return None,
        // These only read it.
        Mnemonic::Cmp | Mnemonic::Test => {}
        _ if to_stack_pointer && instruction.mnemonic() != Mnemonic::Push => return None,
        _ => after.depth -= i64::from(instruction.stack_pointer_increment()),
    }
    let frame_pointer = |register| register == Register::RBP;
    match instruction.mnemonic() {
        Mnemonic::Push if frame_pointer(instruction.op0_register()) && after.saved_fp.is_none() => {
            after.saved_fp = Some(after.depth);
        }
        Mnemonic::Pop if frame_pointer(instruction.op0_register()) && after.saved_fp == Some(step.depth) => {
            after.saved_fp = None;
        }
        Mnemonic::Mov if frame_pointer(instruction.op1_register()) && after.saved_fp.is_none() => {
            let to_stack = instruction.op0_kind() == OpKind::Memory
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None;
            if to_stack {
                after.saved_fp = Some(step.depth - instruction.memory_displacement64().cast_signed());
            }
        }
        _ => {}
    }
    (after.depth % WORD == 0).then_some(after)
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    let is_immediate =
        matches!(instruction.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64);
    is_immediate.then(|| instruction.immediate(1).cast_signed())
}
