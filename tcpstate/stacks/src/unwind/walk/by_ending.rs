//! The caller of code that is in no file that can be read: made at run time, mostly.
//!
//! Such code has no unwind info, and much of it does not keep the frame pointer: what Java compiles (unless started with
//! `-XX:+PreserveFramePointer`), or Python's perf trampoline (`Python/asm_trampoline.S`, 3.12). The register then has whatever
//! a caller left there: often a frame pointer of one further out, and following it would leave out all frames between,
//! unseen. So the end of the function is asked first.

use tcpstate_wire::{Backing, Truncation};

use super::{
    Callee, Caller, Walker, by_frame_pointer, no_frame_pointer,
    walked::{WORD, WalkedStack},
};
use crate::arch::{Ending, Regs};

impl Walker {
    pub(super) fn by_ending(
        &mut self,
        callee: &Callee<'_>,
        regs: &mut Regs,
        stack: &mut WalkedStack<'_>,
    ) -> Result<Caller, Truncation> {
        match stack.ending(callee.address.ip) {
            Some(Ending::FramePointer) => by_frame_pointer(callee, &None, regs, stack),
            Some(Ending::StackPointer { return_address, saved_fp }) => {
                let at = regs.sp().checked_add(return_address).ok_or(Truncation::OffStack)?;
                let ip = stack.read(at)?;
                if !self.may_be_returned_to(ip, stack) {
                    return Err(no_frame_pointer(callee.address.backing));
                }
                if let Some(offset) = saved_fp {
                    regs.set_bp(stack.read(regs.sp().checked_add(offset).ok_or(Truncation::OffStack)?)?);
                }
                regs.set_sp(at + WORD);
                Ok(Caller::Certain(ip))
            }
            None => self.by_frame_pointer_of_its_own(callee, regs, stack),
        }
    }

    /// A frame that lies between this one and that which the frame pointer belongs to has its return address between the
    /// two. Where there is none, the frame pointer is this one's.
    fn by_frame_pointer_of_its_own(
        &mut self,
        callee: &Callee<'_>,
        regs: &mut Regs,
        stack: &mut WalkedStack<'_>,
    ) -> Result<Caller, Truncation> {
        let sp = regs.sp();
        let fp = regs.bp();
        let caller = by_frame_pointer(callee, &None, regs, stack)?;
        let mut at = sp;
        while at <= fp {
            if self.may_be_returned_to(stack.read(at)?, stack) {
                return Err(no_frame_pointer(callee.address.backing));
            }
            at += WORD;
        }
        Ok(caller)
    }

    /// Whether `ip` may be a return address. In code made at run time it need not follow a call: Java's interpreter pushes the
    /// one of its own choice (`TemplateTable::prepare_invoke()`, JDK 17).
    fn may_be_returned_to(&mut self, ip: u64, stack: &mut WalkedStack<'_>) -> bool {
        match stack.backing(ip.wrapping_sub(1)) {
            Some(backing @ Backing::Module { .. }) => self.is_call(&backing, stack),
            Some(_) => true,
            None => false,
        }
    }
}
