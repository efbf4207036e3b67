//! From the innermost frame to the outermost, one at a time.

mod by_code;
mod by_ending;
mod walked;

use std::{collections::HashMap, hash::Hash, ops::Range, sync::Arc};

use framehop::FrameAddress;
use tcpstate_wire::{Backing, CodeAddress, ModuleId, StackCopy, StackEnd, Truncation, UnwoundStack};

use super::{cfi::Scratch, module::Module, modules::Modules, space::Space};
use crate::{
    arch::{self, Cfa, Pushed, Regs, UnwindRule},
    supplier::Supplier,
};
use walked::{WORD, WalkedStack};

/// More frames are not followed: recursion that went wrong.
const MAX_FRAMES: usize = 512;
/// Where user space can have memory: above `vm.mmap_min_addr`, in the lower half.
const USER_SPACE: Range<u64> = 4096..1 << 63;
/// How many addresses are remembered with what there is to know of them.
const MAX_KNOWN: usize = 16 * 1024;

/// Follows stacks; remembers rules of addresses, across processes.
#[derive(Default)]
pub(super) struct Walker {
    /// By module and address.
    rules: HashMap<(ModuleId, u64), UnwindRule>,
    /// By module and address, whether a call ends there.
    calls: HashMap<(ModuleId, u64), bool>,
    /// By module, beginning of the function, and the instruction that was reached.
    pushed: HashMap<(ModuleId, u64, u64), Option<Pushed>>,
    scratch: Scratch,
    cache: arch::Cache,
}

/// The frame under way.
struct Callee<'a> {
    address: &'a CodeAddress,
    is_first: bool,
    /// Whether it was found by the frame pointer of the one before.
    by_frame_pointer: bool,
}

/// Where the caller of a frame is.
enum Caller {
    /// There is none.
    None,
    /// Found by what the code says of itself.
    Certain(u64),
    /// Found by the frame pointer, or where it must be if the frame is what it seems.
    Guess(u64),
}

impl Walker {
    pub(super) fn walk(
        &mut self,
        copy: &StackCopy,
        space: &mut Space,
        modules: &mut Modules,
        supplier: &mut dyn Supplier,
    ) -> UnwoundStack {
        let mut frames = Vec::with_capacity(32);
        let mut stack = WalkedStack::new(copy, space, modules, supplier);
        let end = match self.follow(&mut stack, &mut frames) {
            Ok(()) => StackEnd::Complete,
            Err(Truncation::NotCode(_)) if !stack.space.is_complete() => {
                StackEnd::Truncated(Truncation::TooManyMappings)
            }
            Err(reason) => StackEnd::Truncated(reason),
        };
        UnwoundStack { frames, end }
    }

    /// `Ok` when the outermost frame was reached.
    fn follow(&mut self, stack: &mut WalkedStack<'_>, frames: &mut Vec<CodeAddress>) -> Result<(), Truncation> {
        let registers = stack.copy.registers;
        let ip = registers.ip;
        let backing = stack.backing(ip).unwrap_or(Backing::Unknown);
        let is_code = backing != Backing::Unknown;
        frames.push(CodeAddress { ip, is_return: false, backing });
        if ip < USER_SPACE.start || !USER_SPACE.contains(&registers.sp) {
            return Err(Truncation::NoRegisters);
        }
        if !is_code {
            return Err(Truncation::NotCode(ip));
        }
        let mut regs = arch::regs(&registers);
        let mut by_frame_pointer = false;
        while let Some(address) = frames.last() {
            let sp = regs.sp();
            let callee = Callee { address, is_first: frames.len() == 1, by_frame_pointer };
            let caller = self.caller(&callee, &mut regs, stack)?;
            let (Caller::Certain(ip) | Caller::Guess(ip)) = caller else { return Ok(()) };
            let backing = stack.backing(ip.wrapping_sub(1)).ok_or(Truncation::NotCode(ip));
            if matches!(caller, Caller::Guess(_)) {
                // A frame pointer that is none leads to values that are no return addresses. The outermost function may be
                // one that was never called: `runtime.goexit` in Go.
                let is_outermost = by_frame_pointer && regs.bp() == 0;
                match &backing {
                    Ok(backing) if is_outermost || self.is_call(backing, stack) => by_frame_pointer = true,
                    _ => return Err(no_frame_pointer(address.backing)),
                }
            } else {
                by_frame_pointer = false;
            }
            if regs.sp() <= sp {
                return Err(Truncation::OffStack);
            }
            if frames.len() == MAX_FRAMES {
                return Err(Truncation::TooDeep(MAX_FRAMES as u64));
            }
            frames.push(CodeAddress { ip, is_return: true, backing: backing? });
        }
        Ok(())
    }

    /// The caller of a frame, by unwind info or else by the frame pointer. Not the latter where the system call is: a wrapper
    /// in a library does not keep one, and following its caller's would leave that caller out.
    fn caller(
        &mut self,
        callee: &Callee<'_>,
        regs: &mut Regs,
        stack: &mut WalkedStack<'_>,
    ) -> Result<Caller, Truncation> {
        let (module, address) = match callee.address.backing {
            Backing::Module { module, address } => match stack.module(module) {
                Some(module) => (module, address),
                None => return Err(Truncation::NoUnwindInfo(module)),
            },
            backing @ Backing::Unreadable { .. } if callee.is_first => return Err(no_frame_pointer(backing)),
            _ => return self.by_ending(callee, regs, stack),
        };
        match self.rule(&module, address) {
            UnwindRule::Caller(cfa) => self.by_unwind_info(callee, &module, address, cfa, regs, stack),
            UnwindRule::Outermost => Ok(Caller::None),
            UnwindRule::Signal => Err(Truncation::Signal),
            UnwindRule::Unusable => Err(Truncation::UnusableUnwindInfo(module.id())),
            UnwindRule::None if module.is_entry(address) => Ok(Caller::None),
            UnwindRule::None if !module.is_go() => match self.by_code(callee, &module, address, regs, stack) {
                Some(caller) => Ok(caller),
                None if callee.is_first => Err(Truncation::NoUnwindInfo(module.id())),
                None => by_frame_pointer(callee, &Some(module), regs, stack),
            },
            UnwindRule::None if !callee.is_first => by_frame_pointer(callee, &Some(module), regs, stack),
            UnwindRule::None => {
                // Go's system calls are made by functions without a frame: the return address is on top of the stack.
                let ip = stack.read(regs.sp())?;
                if stack.backing(ip.wrapping_sub(1)).is_some_and(|backing| self.is_call(&backing, stack)) {
                    regs.set_sp(regs.sp() + WORD);
                    return Ok(Caller::Guess(ip));
                }
                by_frame_pointer(callee, &Some(module), regs, stack)
            }
        }
    }

    fn by_unwind_info(
        &mut self,
        callee: &Callee<'_>,
        module: &Module,
        address: u64,
        cfa: Cfa,
        regs: &mut Regs,
        stack: &WalkedStack<'_>,
    ) -> Result<Caller, Truncation> {
        let unusable = || Truncation::UnusableUnwindInfo(module.id());
        let cfa_at = cfa.resolve(regs).ok_or(Truncation::OffStack)?;
        stack.read(cfa_at - WORD)?;
        let cfi = module.cfi().ok_or_else(unusable)?;
        let at = frame_address(callee.address, address).ok_or_else(unusable)?;
        let mut read = |address| stack.read(address).map_err(drop);
        // framehop remembers that it fell back to the frame pointer, so it must not remember rules that it cannot execute for
        // every stack.
        let step = if cfa.is_plain() {
            cfi.step(at, regs, &mut self.cache, &mut read)
        } else {
            cfi.step(at, regs, &mut arch::Cache::new(), &mut read)
        };
        match step {
            Ok(Some(ip)) if regs.sp() == cfa_at => Ok(Caller::Certain(ip)),
            Ok(None) => Ok(Caller::None),
            Err(framehop::Error::CouldNotReadStack(address)) => Err(stack.missing(address)),
            Ok(Some(_)) | Err(_) => Err(unusable()),
        }
    }

    fn rule(&mut self, module: &Module, address: u64) -> UnwindRule {
        let Some(cfi) = module.cfi() else { return UnwindRule::None };
        remembered(&mut self.rules, (module.id(), address), || cfi.rule(address, &mut self.scratch))
    }

    /// Whether the code there, as far as it can be read, ends with a call.
    fn is_call(&mut self, backing: &Backing, stack: &mut WalkedStack<'_>) -> bool {
        let &Backing::Module { module, address } = backing else { return true };
        let Some(module) = stack.module(module) else { return true };
        remembered(&mut self.calls, (module.id(), address), || module.is_call(address).unwrap_or(true))
    }
}

/// What `known` has for `key`, found out now if it has nothing.
fn remembered<K: Eq + Hash, V: Copy>(known: &mut HashMap<K, V>, key: K, find: impl FnOnce() -> V) -> V {
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    *known.entry(key).or_insert_with(find)
}

/// Code that keeps frame pointers has the caller's at `[fp]` and the return address above it. 0 marks the outermost frame
/// (System V ABI for x86-64, 3.4.1); in code that uses the register otherwise it means nothing, and code made at run time is
/// never the outermost.
fn by_frame_pointer(
    callee: &Callee<'_>,
    module: &Option<Arc<Module>>,
    regs: &mut Regs,
    stack: &WalkedStack<'_>,
) -> Result<Caller, Truncation> {
    let backing = callee.address.backing;
    let fp = regs.bp();
    if fp == 0 {
        let is_entry =
            matches!((module, backing), (Some(module), Backing::Module { address, .. }) if module.is_entry(address));
        let is_outermost = is_entry || (callee.by_frame_pointer && backing != Backing::Jit);
        return if is_outermost { Ok(Caller::None) } else { Err(no_frame_pointer(backing)) };
    }
    if fp < regs.sp() || !fp.is_multiple_of(WORD) {
        return Err(no_frame_pointer(backing));
    }
    let or_beyond = |reason| match reason {
        Truncation::CopyEnded(_) => reason,
        _ => no_frame_pointer(backing),
    };
    let caller_fp = stack.read(fp).map_err(or_beyond)?;
    let ip = stack.read(fp + WORD).map_err(or_beyond)?;
    if ip == 0 {
        return if caller_fp == 0 && callee.by_frame_pointer {
            Ok(Caller::None)
        } else {
            Err(no_frame_pointer(backing))
        };
    }
    regs.set_sp(fp + 2 * WORD);
    regs.set_bp(caller_fp);
    Ok(Caller::Guess(ip))
}

fn no_frame_pointer(backing: Backing) -> Truncation {
    match backing {
        Backing::Module { module, .. } => Truncation::NoUnwindInfo(module),
        Backing::Unreadable { module, .. } => Truncation::Unreadable(module),
        Backing::Jit | Backing::Unknown => Truncation::NoFramePointer,
    }
}

/// What framehop calls the address of a frame, as the file counts them.
fn frame_address(callee: &CodeAddress, address: u64) -> Option<FrameAddress> {
    if callee.is_return {
        FrameAddress::from_return_address(address.checked_add(1)?)
    } else {
        Some(FrameAddress::from_instruction_pointer(address))
    }
}
