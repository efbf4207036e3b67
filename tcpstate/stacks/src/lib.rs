//! Everything that reads other programs' bytes: what they map, their stacks, their files. Whoever runs those programs chose every
//! byte of it.
//!
//! A stack goes one way, and has three shapes here, each for a reason:
//!
//! 1. [`StackCopy`]: registers and bytes. All that there is of it when a hook meets a socket; nobody may wait for more there.
//! 2. [`UnwoundStack`]: addresses, and the files that they belong to. The process may end at once, so an [`Unwinder`] follows the
//!    copy while it lives. Stacks are kept and compared in this shape: most of them nobody ever asks for.
//! 3. [`Stack`](tcpstate_core::model::stack::Stack): functions, files and lines, from a [`Namer`]. What is shown and recorded. Reading
//!    debug info takes long, so it is done for those stacks only that a report has, beside the way of events.
//!
//! [`process`] is what `/proc` and the memory of a process say; [`Syscall`] names what a thread sleeps in.

#![forbid(unsafe_code)]

mod arch;
mod copy;
mod fold;
pub mod process;
mod symbolize;
mod unwind;

pub use arch::{Sends, Syscall};
pub use copy::StackCopy;
pub use fold::{Folded, fold};
pub use symbolize::Namer;
pub use unwind::{Backing, CodeAddress, Module, StackEnd, Truncation, Unwinder, UnwoundStack};
