//! What the three processes say to each other that take part when stacks are unwound and named:
//!
//! - the **tracer** has a [`Task`] for the worker, and an [`WorkerAnswer`] comes back;
//! - the **worker** has a [`Need`] now and then, which the tracer passes on to the broker, for the one process that its task is about;
//! - the **tracer** asks the broker itself, too, for what the worker cannot even ask for ([`Asked`]);
//! - the **broker** reads, and its [`Supply`] goes back the same way, with open files beside it.
//!
//! The worker parses what any user of the machine has written, so whatever comes from it may be a lie: a message is limited in its length,
//! and nothing in it names a process or a path that the tracer acts on.

#![forbid(unsafe_code)]

pub mod channel;
mod function;
mod interpreted;
mod need;
mod shortened;
mod stack;
mod task;

pub use function::{Function, FunctionSource};
pub use interpreted::{FrameRecipe, FrameWords, InterpretedFrame, Interpreter, Language, ListEnd};
pub use need::{
    Asked, DebugFileWanted, FileVersion, MapState, Mappings, Need, Region, RegionKind, Request, Subject, Supply, Waker,
};
pub use shortened::shortened;
pub use stack::{Backing, CodeAddress, ModuleId, StackCopy, StackEnd, Truncation, Unreadable, UnwoundStack};
pub use task::{Task, WorkerAnswer};
