//! Stacks by place: unwound when they come, since their process may end; named when somebody wants to read them.

use std::collections::{HashMap, HashSet};

use tcpstate_common::leak::{CodeRanges, StackHeader};

use crate::{
    model::leak::PlaceId,
    process::descriptors,
    symbolize::{Frame, Symbolizer, hint},
    unwind::{Address, End, RawStack, Registers, Stack, Unwinder},
};

/// A stack with names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Innermost first.
    pub(super) frames: Vec<Frame>,
    /// Whether that is all.
    pub(super) end: End,
    /// How to get more names out of an interpreter.
    pub(super) hint: Option<String>,
}

/// Every stack that was taken.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    unwinder: Unwinder,
    symbolizer: Symbolizer,
    places: HashMap<PlaceId, Place>,
    /// The place that stands for all with the same addresses.
    first: HashMap<(u32, Vec<Address>), PlaceId>,
    /// Code of processes, as the kernel side knows it.
    code: HashMap<u32, CodeRanges>,
    /// Places that turned out to be more than one.
    pub(super) ambiguous: HashSet<PlaceId>,
}

#[derive(Debug)]
struct Place {
    first: PlaceId,
    stack: Stack,
    named: Option<Named>,
}

impl Stacks {
    /// Takes a stack from the kernel. Returns where its process has its code, if the kernel side has to be told.
    pub(super) fn take(&mut self, header: &StackHeader, bytes: &[u8], limit: usize) -> Option<CodeRanges> {
        let stack = self.unwinder.unwind(&RawStack {
            pid: header.tgid,
            registers: Registers { ip: header.registers.ip, sp: header.registers.sp, fp: header.registers.bp },
            stack: bytes,
            truncated_copy: bytes.len() >= limit,
        });
        let id = PlaceId(header.place);
        match self.places.get(&id) {
            // Taken again to see whether one place is one stack.
            Some(known) if known.stack.frames != stack.frames => {
                self.ambiguous.insert(known.first);
            }
            Some(_) => {}
            None => {
                let first = *self.first.entry((header.tgid, stack.frames.clone())).or_insert(id);
                self.places.insert(id, Place { first, stack, named: None });
            }
        }
        self.code_unless_known(header)
    }

    /// One place for all places whose stacks are the same.
    pub(super) fn fold(&self, place: PlaceId) -> PlaceId {
        self.places.get(&place).map_or(place, |known| known.first)
    }

    /// The stack of a place; `None` when it was not taken.
    pub(super) fn named(&mut self, place: PlaceId) -> Option<&Named> {
        let known = self.places.get_mut(&place)?;
        if known.named.is_none() {
            known.named = Some(name(&mut self.symbolizer, &known.stack));
        }
        known.named.as_ref()
    }

    /// Unwinds a stack that belongs to no place: that of a sleeping thread.
    pub(super) fn unwind(&mut self, raw: &RawStack<'_>) -> Stack {
        self.unwinder.unwind(raw)
    }

    /// Names a stack that belongs to no place.
    pub(super) fn name(&mut self, stack: &Stack) -> Named {
        name(&mut self.symbolizer, stack)
    }

    /// A process is told of once, and again when it runs code elsewhere: after `execve()` or `dlopen()`.
    fn code_unless_known(&mut self, header: &StackHeader) -> Option<CodeRanges> {
        let inside = |range: &[u64; 2]| header.registers.ip.wrapping_sub(range[0]) < range[1];
        if self.code.get(&header.tgid).is_some_and(|code| code.ranges.iter().any(inside)) {
            return None;
        }
        let code = descriptors::code(header.tgid)?;
        (self.code.insert(header.tgid, code) != Some(code)).then_some(code)
    }
}

fn name(symbolizer: &mut Symbolizer, stack: &Stack) -> Named {
    Named { frames: symbolizer.symbolize(stack), end: stack.end.clone(), hint: hint(stack) }
}
