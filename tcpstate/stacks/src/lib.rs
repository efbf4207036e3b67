//! What the worker does: stacks are unwound, and their addresses named. Whoever runs the programs that these are of chose every byte of
//! what is read for that, so this runs without privileges, and is ended when it takes too long ([`worker`]).
//!
//! It opens nothing. What it needs of a process or a file it is given by a [`Supplier`].
//!
//! A stack has three shapes, each for a reason:
//!
//! 1. [`StackCopy`](tcpstate_wire::StackCopy): registers and bytes. All that there is of it when a hook meets a socket; nobody may wait for
//!    more there.
//! 2. [`UnwoundStack`](tcpstate_wire::UnwoundStack): addresses, and the modules that they belong to. The process may end at once, so an
//!    [`Unwinder`] follows the copy while it lives. The tracer keeps and compares stacks in this shape: most of them nobody ever asks for.
//! 3. Functions, files and lines, from a [`Namer`]. Reading debug info takes long, so it is done for those stacks only that a report has.
//!
//! Functions of programs in Python are not on that stack: the interpreter has a list of frames, which the kernel side takes word by word once
//! the worker has found out where a process keeps it. The worker names them, too, as long as the process lives.
//!
//! [`Syscall`] names what a thread sleeps in.

#![deny(unsafe_code)]

mod arch;
mod fold;
mod interpreted;
mod supplier;
mod symbolize;
mod unwind;
pub mod worker;

pub use arch::{Sends, Syscall};
pub use fold::{Folded, fold};
pub use supplier::Supplier;
pub use symbolize::Namer;
pub use unwind::{MOST_MODULES, Modules, Unwinder};
