//! Frames of programs that are interpreted: the interpreter keeps them in memory of its own, not on the stack of the thread.

use serde::{Deserialize, Serialize};

use crate::function::Function;

/// What an interpreter keeps of a frame, as the kernel side took it: the words that the recipe names.
pub type FrameWords = [u64; 3];

/// How the kernel side finds the frames of the thread that runs: they are a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecipe {
    /// Where the way begins, from the thread pointer on (`fs:0` on x86-64); wraps around.
    pub start: u64,
    /// From there on, the offsets at which a pointer is followed until the innermost frame is reached.
    pub hops: [u32; 4],
    /// How many of them count.
    pub hop_count: u32,
    /// Offset in a frame of the address of the one that called it; 0 ends the list.
    pub next: u32,
    /// Offsets in a frame of the words that are taken.
    pub words: [u32; 3],
}

/// What a module is to the programs that the process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interpreter {
    /// None that is known here.
    None,
    /// One whose frames are not taken, and why.
    Unfit(String),
    /// One whose frames are found so.
    Walked {
        /// What it interprets.
        language: Language,
        /// How.
        recipe: FrameRecipe,
    },
}

/// What programs are written in that an interpreter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Language {
    /// `CPython`.
    Python,
}

/// How a list of frames ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListEnd {
    /// These are all.
    #[default]
    Complete,
    /// There are more than are taken.
    TooDeep,
    /// The next one is not in memory.
    NotInMemory,
}

/// A frame of an interpreted program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpretedFrame {
    /// The address of what is interpreted, which tells its functions from others as long as the process has it.
    pub code: u64,
    /// Where in it the frame is.
    pub at: u64,
    /// The function, its file and line; `None` where they could not be read.
    pub function: Option<Function>,
    /// Whether native code called the interpreter to run this: what comes next in the list was run by another call of it.
    pub is_entry: bool,
}
