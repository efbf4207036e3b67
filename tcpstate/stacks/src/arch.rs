//! What depends on the processor. Another one needs a module beside this one's, with the same names in it.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("stacks are unwound on x86-64 only");

#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use x86_64::{
    CODE_PIECE, Cache, CallTarget, Cfa, CfiUnwinder, Ending, MAX_CALL, Pushed, Regs, UnwindRule, called, ending,
    ends_with_call, judge, pushed, regs,
};
pub use x86_64::{Sends, Syscall};
