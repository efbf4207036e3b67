//! The caller of a function that says nothing of itself, found by reading code: musl's system calls have neither unwind info
//! nor frame pointers.
//!
//! A word of the stack is the return address if a call ends there, if jumps lead from what it calls to the instruction in
//! question, and if on that way the function pushes exactly what lies below the word. Old words that a stack is full of do not
//! pass that; a call through a register has no target to follow and is not found.

mod ending;

pub(super) use ending::{Ending, ending};

use std::collections::{HashMap, HashSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::Module;

/// Size of an address, bytes.
const WORD: i64 = 8;
/// Instructions that are followed from one target.
const MAX_INSTRUCTIONS: usize = 4096;
/// Longest instruction, bytes (Intel SDM, volume 2, 2.3.11).
const MAX_LENGTH: usize = 15;
/// Bytes read at a time.
pub(super) const PIECE: usize = 1024;
/// How many ways are remembered.
const MAX_KNOWN: usize = 16 * 1024;

/// What a function has on the stack at some instruction, in bytes from the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Where its return address is.
    pub(super) return_address: u64,
    /// Where it keeps the frame pointer of its caller, if it does.
    pub(super) saved_fp: Option<u64>,
}

/// Where a call leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallTarget {
    /// To this address of the same file.
    Here(u64),
    /// To what the word at this address of the file says: of a table that the dynamic linker filled in.
    Table(u64),
}

/// Remembers the ways it went.
#[derive(Debug, Default)]
pub(super) struct Ways {
    ways: HashMap<(u64, u64, u64), Option<Pushed>>,
}

impl Ways {
    /// What the function at `start` has pushed when it is about to execute `at`; `None` when no jumps lead there, or when the
    /// stack pointer becomes what cannot be followed.
    pub(super) fn pushed(&mut self, module: &Module, start: u64, at: u64) -> Option<Pushed> {
        if self.ways.len() >= MAX_KNOWN {
            self.ways.clear();
        }
        *self.ways.entry((module.id(), start, at)).or_insert_with(|| follow(module, start, at))
    }
}

/// Where the call leads that ends before `end`: `call rel32`, or `call *table(%rip)`.
pub(super) fn called(module: &Module, end: u64) -> Option<CallTarget> {
    [5, 6].into_iter().find_map(|length| {
        let call = of_file(module).at(end.checked_sub(length)?)?;
        if call.mnemonic() != Mnemonic::Call || call.next_ip() != end {
            return None;
        }
        match leads_to(&call)? {
            // A stub of the procedure linkage table.
            here @ CallTarget::Here(stub) => Some(stub_of(module, stub).unwrap_or(here)),
            table @ CallTarget::Table(_) => Some(table),
        }
    })
}

/// The table entry that the code at `address` jumps by, if it does nothing else.
fn stub_of(module: &Module, address: u64) -> Option<CallTarget> {
    let mut code = of_file(module);
    let mut instruction = code.at(address)?;
    if instruction.mnemonic() == Mnemonic::Endbr64 {
        instruction = code.at(instruction.next_ip())?;
    }
    if instruction.flow_control() == FlowControl::IndirectBranch { leads_to(&instruction) } else { None }
}

fn leads_to(instruction: &Instruction) -> Option<CallTarget> {
    match instruction.op0_kind() {
        OpKind::NearBranch64 => Some(CallTarget::Here(instruction.near_branch_target())),
        OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
            Some(CallTarget::Table(instruction.ip_rel_memory_address()))
        }
        _ => None,
    }
}

/// A place on the way, and what was pushed until there.
#[derive(Clone, Copy, Debug)]
struct Waypoint {
    address: u64,
    depth: i64,
    saved_fp: Option<i64>,
}

fn follow(module: &Module, start: u64, at: u64) -> Option<Pushed> {
    let mut code = of_file(module);
    let mut ways = vec![Waypoint { address: start, depth: 0, saved_fp: None }];
    let mut seen = HashSet::new();
    while let Some(mut step) = ways.pop() {
        loop {
            if step.address == at {
                // The frame pointer is saved that many bytes below the return address.
                let saved_fp = step.saved_fp.and_then(|saved| u64::try_from(step.depth - saved).ok());
                return Some(Pushed { return_address: u64::try_from(step.depth).ok()?, saved_fp });
            }
            if !seen.insert(step.address) || seen.len() > MAX_INSTRUCTIONS {
                break;
            }
            let Some(instruction) = code.at(step.address) else { break };
            let Some(after) = execute(&instruction, step).filter(|after| after.depth >= 0) else { break };
            match instruction.flow_control() {
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => step = after,
                FlowControl::UnconditionalBranch => match leads_to(&instruction) {
                    Some(CallTarget::Here(address)) => step = Waypoint { address, ..after },
                    _ => break,
                },
                FlowControl::ConditionalBranch => {
                    if let Some(CallTarget::Here(address)) = leads_to(&instruction) {
                        ways.push(Waypoint { address, ..after });
                    }
                    step = after;
                }
                _ => break,
            }
        }
    }
    None
}

/// What one instruction does to the stack. `None`: the stack pointer cannot be followed.
fn execute(instruction: &Instruction, step: Waypoint) -> Option<Waypoint> {
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

/// The code of a file, by its addresses.
fn of_file(module: &Module) -> CodeReader<impl FnMut(u64) -> Option<Vec<u8>>> {
    CodeReader::new(|address| module.code(address, PIECE))
}

/// Code, decoded where it is asked for.
struct CodeReader<R> {
    /// Gives the code from an address on, up to [`PIECE`].
    read: R,
    start: u64,
    bytes: Vec<u8>,
}

impl<R: FnMut(u64) -> Option<Vec<u8>>> CodeReader<R> {
    fn new(read: R) -> Self {
        Self { read, start: 0, bytes: Vec::new() }
    }

    fn at(&mut self, address: u64) -> Option<Instruction> {
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
