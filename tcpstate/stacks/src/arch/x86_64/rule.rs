//! What a row of unwind info means, as far as framehop can execute it.

use gimli::{CfaRule, RegisterRule, UnwindTableRow};

use super::registers::{FRAME_POINTER, RETURN_ADDRESS, Regs, STACK_POINTER};

/// What unwind info says of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnwindRule {
    /// Nothing.
    None,
    /// How to find the caller.
    Caller(Cfa),
    /// There is no caller: this is where the thread or the program begins.
    Outermost,
    /// A signal interrupted the caller: all of its registers would be needed.
    Signal,
    /// It needs registers that were not captured, or is malformed.
    Unusable,
}

/// The canonical frame address (DWARF 5, 6.4): the stack pointer of the caller, before it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cfa {
    base: Base,
    offset: u64,
    /// Where the caller's frame pointer is saved, relative to the frame address.
    saved_fp: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    StackPointer,
    FramePointer,
}

impl Cfa {
    pub(crate) fn resolve(self, regs: &Regs) -> Option<u64> {
        let base = match self.base {
            Base::StackPointer => regs.sp(),
            Base::FramePointer => regs.bp(),
        };
        base.checked_add(self.offset)
    }

    /// Whether framehop has a rule of its own for it (`translate_into_unwind_rule()`, framehop 0.16), so that executing it
    /// cannot end in the fallback.
    pub(crate) fn is_plain(self) -> bool {
        match self.base {
            Base::StackPointer => {
                self.offset / 8 <= u16::MAX.into() && self.saved_fp.is_none_or(|at| at.unsigned_abs() < 1 << 17)
            }
            Base::FramePointer => self.offset == 16 && self.saved_fp == Some(-16),
        }
    }
}

/// What framehop makes of this row, if it is what the row means.
pub(crate) fn judge(row: &UnwindTableRow<usize>) -> UnwindRule {
    let return_address = match row.register(RETURN_ADDRESS) {
        None | Some(RegisterRule::Undefined) => return UnwindRule::Outermost,
        Some(RegisterRule::Offset(offset)) => offset,
        Some(_) => return UnwindRule::Unusable,
    };
    let frame_pointer = match row.register(FRAME_POINTER) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        Some(RegisterRule::Offset(offset)) => Some(offset),
        Some(_) => return UnwindRule::Unusable,
    };
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return UnwindRule::Unusable };
    let base = match register {
        STACK_POINTER => Base::StackPointer,
        FRAME_POINTER => Base::FramePointer,
        _ => return UnwindRule::Unusable,
    };
    // The return address is the last thing below the caller's frame.
    if offset < 8 || return_address != -8 {
        return UnwindRule::Unusable;
    }
    UnwindRule::Caller(Cfa { base, offset: offset.unsigned_abs(), saved_fp: frame_pointer })
}
