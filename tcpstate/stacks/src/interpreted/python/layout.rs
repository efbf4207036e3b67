//! Where a `CPython` has what.

use tcpstate_wire::FrameRecipe;

use super::{lines::Encoding, text::TextLayout, version::PythonVersion};

/// Offsets of what is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) version: PythonVersion,
    /// In `_PyRuntimeState`: the first interpreter.
    pub(super) interpreters: u32,
    pub(super) interpreter: InterpreterLayout,
    pub(super) thread: ThreadLayout,
    pub(super) frame: FrameLayout,
    pub(super) code: CodeLayout,
    pub(super) text: TextLayout,
}

impl Layout {
    /// How the kernel side finds frames whose threads have their state at `slot` from the thread pointer on.
    pub(super) fn recipe(&self, slot: u32) -> FrameRecipe {
        let Self { thread, frame, .. } = self;
        let hops = [0, thread.frame, thread.frame_in.unwrap_or(0), 0];
        FrameRecipe {
            start: u64::from(slot),
            hops,
            hop_count: if thread.frame_in.is_some() { 3 } else { 2 },
            next: frame.previous,
            words: [frame.code, frame.instruction, frame.flags],
        }
    }
}

/// Of `PyInterpreterState`.
#[derive(Clone, Copy, Debug)]
pub(super) struct InterpreterLayout {
    pub(super) next: u32,
    /// The first of its threads.
    pub(super) threads: u32,
}

/// Of `PyThreadState`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadLayout {
    pub(super) next: u32,
    pub(super) interpreter: u32,
    /// What `pthread_self` returned: with glibc the thread pointer.
    pub(super) id: u32,
    /// The innermost frame, or in 3.11 and 3.12 what has it.
    pub(super) frame: u32,
    /// Where that has it.
    pub(super) frame_in: Option<u32>,
}

/// Of `PyFrameObject`, or `_PyInterpreterFrame`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameLayout {
    /// Whether it is an object.
    pub(super) is_object: bool,
    pub(super) code: u32,
    pub(super) previous: u32,
    pub(super) instruction: u32,
    /// The word with what `entry` is of.
    pub(super) flags: u32,
    pub(super) entry: EntryMark,
    /// Bits of the pointer to the code that are not of its address.
    pub(super) tag: u64,
}

/// How it is told whether native code called the interpreter to run a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntryMark {
    /// It always did.
    Always,
    /// This byte of the flags says so.
    Flag {
        /// Number of it.
        byte: u32,
    },
    /// A frame lies between that this byte of the flags tells from those of functions.
    Owner {
        /// Number of it.
        byte: u32,
    },
}

impl EntryMark {
    /// Whether native code called the interpreter to run this frame, as far as the frame itself tells.
    pub(super) fn is_entry(self, flags: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Flag { byte } => flags.to_le_bytes().get(byte as usize).is_some_and(|&flag| flag != 0),
            Self::Owner { .. } => false,
        }
    }

    /// Whether the frame is no function's but marks that native code called the interpreter.
    pub(super) fn is_bottom(self, flags: u64) -> bool {
        /// `FRAME_OWNED_BY_CSTACK`; since 3.14 `FRAME_OWNED_BY_INTERPRETER`, and the former is 4.
        const NO_FUNCTION: u8 = 3;
        match self {
            Self::Owner { byte } => flags.to_le_bytes().get(byte as usize).is_some_and(|&owner| owner >= NO_FUNCTION),
            Self::Always | Self::Flag { .. } => false,
        }
    }
}

/// Of `PyCodeObject`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeLayout {
    pub(super) first_line: u32,
    pub(super) file: u32,
    /// With the class and functions that it is in, since 3.11.
    pub(super) name: u32,
    pub(super) lines: u32,
    pub(super) encoding: Encoding,
    pub(super) instructions: Instructions,
}

impl CodeLayout {
    /// How much of a code object is read, bytes: what is needed, and nothing after it, which changes.
    pub(super) fn length(&self) -> u32 {
        [self.file, self.name, self.lines, self.first_line].into_iter().max().unwrap_or(0) + size_of::<u64>() as u32
    }
}

/// Where a function has its instructions, and how a frame says which it is at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instructions {
    /// In the object that is at this offset in the code object. A frame has the number of a unit of so many bytes.
    Apart {
        /// The offset.
        at: u32,
        /// Bytes of a unit.
        unit: i64,
    },
    /// In the code object from this offset on. A frame has an address.
    Within {
        /// The offset.
        at: u32,
    },
}

impl Instructions {
    /// How far from the first instruction on a frame is, bytes.
    pub(super) fn offset(self, code: u64, at: u64) -> i64 {
        match self {
            Self::Apart { unit, .. } => i64::from((at as u32).cast_signed()) * unit,
            Self::Within { at: begin } => at.wrapping_sub(code).wrapping_sub(u64::from(begin)).cast_signed(),
        }
    }
}
