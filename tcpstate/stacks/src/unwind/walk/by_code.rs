//! Which word of a stack is the return address, where only code tells.

use std::sync::Arc;

use tcpstate_wire::Backing;

use super::{
    Callee, Caller, Walker, remembered,
    walked::{WORD, WalkedStack},
};
use crate::{
    arch::{self, CallTarget, Pushed, Regs},
    unwind::module::Module,
};

/// How far above the stack pointer a return address is looked for where only code tells, words.
const CODE_WORDS: u64 = 128;

impl Walker {
    /// The caller of code without unwind info, by what [`arch::pushed`] reads there.
    pub(super) fn by_code(
        &mut self,
        callee: &Callee<'_>,
        module: &Arc<Module>,
        address: u64,
        regs: &mut Regs,
        stack: &mut WalkedStack<'_>,
    ) -> Option<Caller> {
        let at = if callee.address.is_return { address.checked_add(1)? } else { address };
        let mut other = false;
        for offset in (0..CODE_WORDS).map(|word| word * WORD) {
            let ip = stack.read(regs.sp().checked_add(offset)?).ok()?;
            // Not worth reading the mappings again: most words are no addresses of code.
            let backing = stack.known_backing(ip.wrapping_sub(1));
            let (caller, call) = match backing {
                Some(Backing::Module { module, address }) => (stack.module(module)?, address),
                Some(_) => {
                    other = true;
                    continue;
                }
                None => continue,
            };
            if !self.is_call(&Backing::Module { module: caller.id(), address: call }, stack) {
                continue;
            }
            if caller.is_entry(call) {
                // What the program calls first jumps on, through a register in musl. The return address lies somewhere up to
                // here, so it is this one if nothing below can be one.
                if other {
                    return None;
                }
                regs.set_sp(regs.sp() + offset + WORD);
                return Some(Caller::Certain(ip));
            }
            other = true;
            let Some(target) = arch::called(call.wrapping_add(1), |at| caller.code(at)) else { continue };
            let start = match target {
                CallTarget::Here(start) if caller.id() == module.id() => start,
                CallTarget::Here(_) => continue,
                CallTarget::Table(entry) => {
                    let bias = ip.wrapping_sub(call).wrapping_sub(1);
                    match stack.word(entry.wrapping_add(bias)).and_then(|called| stack.backing(called)) {
                        Some(Backing::Module { module: called, address }) if called == module.id() => address,
                        _ => continue,
                    }
                }
            };
            let Some(pushed) = self.pushed(module, start, at).filter(|pushed| pushed.return_address == offset) else {
                continue;
            };
            let fp = match pushed.saved_fp {
                Some(saved) => stack.read(regs.sp().checked_add(saved)?).ok()?,
                None => regs.bp(),
            };
            regs.set_sp(regs.sp() + offset + WORD);
            regs.set_bp(fp);
            return Some(Caller::Certain(ip));
        }
        None
    }

    fn pushed(&mut self, module: &Module, start: u64, at: u64) -> Option<Pushed> {
        remembered(&mut self.pushed, (module.id(), start, at), || arch::pushed(start, at, |at| module.code(at)))
    }
}
