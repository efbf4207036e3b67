//! x86-64: its registers, what its unwind info and its code say of a caller, and the numbers of its system calls.

mod call;
mod code;
mod ending;
mod pushed;
mod registers;
mod rule;
mod syscalls;

pub(crate) use call::{CallTarget, MAX_CALL, called, ends_with_call};
pub(crate) use code::CODE_PIECE;
pub(crate) use ending::{Ending, ending};
pub(crate) use pushed::{Pushed, pushed};
pub(crate) use registers::{Cache, CfiUnwinder, Regs, regs};
pub(crate) use rule::{Cfa, UnwindRule, judge};
pub use syscalls::{Sends, Syscall};
