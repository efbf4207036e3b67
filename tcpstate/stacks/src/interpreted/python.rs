//! `CPython`: its frames are a list in the state of each thread.
//!
//! Until 3.10 each is an object (`PyFrameObject`), since 3.11 a structure (`_PyInterpreterFrame`) on a stack of the thread's own. A
//! library or a program has `CPython` in it if it defines `_PyRuntime`, also when it was stripped: extension modules need it.

mod code;
mod exports;
mod identify;
mod known;
mod layout;
mod lines;
mod members;
mod offsets;
mod text;
mod threads;
mod types;
mod unfit;
mod version;

use tcpstate_wire::{FrameRecipe, FrameWords, InterpretedFrame, ListEnd};

use super::{memory::Memory, way};
use layout::{FrameLayout, Layout};
use types::Types;

pub(super) use self::{code::Codes, exports::Exports, unfit::Unfit};

/// A `CPython` in a process.
#[derive(Clone, Debug)]
pub(super) struct Python {
    layout: Layout,
    types: Types,
    none: u64,
}

/// What a frame is.
enum Sort {
    /// One of a function: the address of its code, and where in that it is, bytes.
    Function(u64, i64),
    /// Put there when native code called the interpreter: what comes next in the list was there before.
    Bottom,
}

/// How many frames of a thread are looked at to see that they are frames.
const TRIED_FRAMES: usize = 8;
/// How often that is tried: threads run on meanwhile.
const TRIES: usize = 3;

impl Python {
    /// Finds out where a process has its frames. What is known of the version is checked there.
    pub(super) fn find(exports: &Exports, memory: &mut Memory<'_>) -> Result<(Self, FrameRecipe), Unfit> {
        let layout = identify::layout(exports, memory)?;
        let python = Self { layout, types: exports.types, none: exports.none };
        let name = layout.version.name();
        // What is no CPython at all fails each time.
        let mut why = Unfit::NoThread(name);
        for _ in 0..TRIES {
            let found = threads::find(exports.runtime, &layout, memory).and_then(|threads| {
                let recipe = layout.recipe(threads.slot);
                python.check(&recipe, &threads.pointers, memory).map(|()| recipe)
            });
            match found {
                Ok(recipe) => return Ok((python, recipe)),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Whether the recipe leads to frames of functions, by these thread pointers.
    fn check(&self, recipe: &FrameRecipe, pointers: &[u64], memory: &mut Memory<'_>) -> Result<(), Unfit> {
        let name = self.layout.version.name();
        let mut why = Unfit::Idle(name);
        for &pointer in pointers {
            let (frames, end) = way::frames(recipe, pointer, TRIED_FRAMES, memory);
            if end == ListEnd::NotInMemory {
                continue;
            }
            let named = self.name(
                0,
                &frames.iter().map(|&(_, words)| words).collect::<Vec<_>>(),
                &mut Codes::default(),
                memory,
            );
            if named.is_empty() {
                continue;
            }
            let are_objects = !self.layout.frame.is_object
                || frames.iter().all(|&(address, _)| self.types.is_of(address, self.types.frame, memory));
            if are_objects && named.iter().all(|frame| frame.function.is_some()) {
                return Ok(());
            }
            why = Unfit::Frames(name);
        }
        Err(why)
    }

    /// Names frames, innermost first. Those that are the interpreter's own are left out.
    pub(super) fn name(
        &self,
        space: u64,
        frames: &[FrameWords],
        codes: &mut Codes,
        memory: &mut Memory<'_>,
    ) -> Vec<InterpretedFrame> {
        let mut named: Vec<InterpretedFrame> = Vec::with_capacity(frames.len());
        for words in frames {
            let (address, offset) = match self.sort(words) {
                Sort::Function(address, offset) => (address, offset),
                Sort::Bottom => {
                    if let Some(outer) = named.last_mut() {
                        outer.is_entry = true;
                    }
                    continue;
                }
            };
            let code = codes.get((space, address), &self.layout, &self.types, memory);
            if code.is_some_and(|code| code.is_shim(offset)) {
                continue;
            }
            named.push(InterpretedFrame {
                code: address,
                at: offset.cast_unsigned(),
                function: code.and_then(|code| code.function(offset)),
                is_entry: self.layout.frame.entry.is_entry(words[2]),
            });
        }
        named
    }

    fn sort(&self, &[code, at, flags]: &FrameWords) -> Sort {
        let Layout { frame: FrameLayout { entry, tag, .. }, code: layout, .. } = &self.layout;
        let code = code & !tag;
        if entry.is_bottom(flags) || code == self.none {
            return Sort::Bottom;
        }
        Sort::Function(code, layout.instructions.offset(code, at))
    }
}

#[cfg(test)]
pub(super) mod tests;
