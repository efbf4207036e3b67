//! The caller of a function that says nothing of itself, found by reading code: musl's system calls have neither unwind info
//! nor frame pointers.
//!
//! A word of the stack is the return address if a call ends there, if jumps lead from what it calls to the instruction in
//! question, and if on that way the function pushes exactly what lies below the word. Old words that a stack is full of do not
//! pass that; a call through a register has no target to follow and is not found.

use std::collections::HashSet;

use iced_x86::FlowControl;

use super::{
    call::{CallTarget, leads_to},
    code::{CodeReader, Waypoint, execute},
};

/// Instructions that are followed from one target.
const MAX_INSTRUCTIONS: usize = 4096;

/// What a function has on the stack at some instruction, in bytes from the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Where its return address is.
    pub(crate) return_address: u64,
    /// Where it keeps the frame pointer of its caller, if it does.
    pub(crate) saved_fp: Option<u64>,
}

/// What the function at `start` has pushed when it is about to execute `at`; `None` when no jumps lead there, or when the stack
/// pointer becomes what cannot be followed. `read` gives code, up to [`CODE_PIECE`](super::CODE_PIECE).
pub(crate) fn pushed(start: u64, at: u64, read: impl FnMut(u64) -> Option<Vec<u8>>) -> Option<Pushed> {
    let mut code = CodeReader::new(read);
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
