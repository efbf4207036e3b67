//! From the innermost frame to the outermost, one at a time.

mod by_code;
mod by_ending;

use std::{collections::HashMap, mem, ops::Range, sync::Arc};

use framehop::FrameAddress;

use super::{
    Address, End, Module, Place, RawStack, Reason,
    arch::{self, Regs},
    cfi::{Cfa, Rule, Scratch},
    code,
    module::Modules,
    space::Space,
};

/// Size of an address, bytes.
const WORD: u64 = 8;
/// More frames are not followed: recursion that went wrong.
const MAX_FRAMES: usize = 512;
/// Where user space can have memory: above `vm.mmap_min_addr`, in the lower half.
const USER_SPACE: Range<u64> = 4096..1 << 63;
/// A frame this far beyond the copy may still be on the same stack (`RLIMIT_STACK` as it usually is), bytes.
const STACK_SIZE: u64 = 8 * 1024 * 1024;
/// How many addresses are remembered with what there is to know of them.
const MAX_KNOWN: usize = 16 * 1024;

/// Follows stacks; remembers rules of addresses, across processes.
#[derive(Default)]
pub(super) struct Walker {
    rules: HashMap<(u64, u64), Rule>,
    calls: HashMap<(u64, u64), bool>,
    code: code::Reader,
    scratch: Scratch,
    cache: arch::Cache,
}

/// The frame under way.
struct Frame<'a> {
    address: &'a Address,
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
    pub(super) fn walk(&mut self, raw: &RawStack<'_>, space: &mut Space, modules: &mut Modules) -> (Vec<Address>, End) {
        let mut frames = Vec::with_capacity(32);
        let mut thread = Thread { raw, space, modules, refreshed: false };
        let end = match self.follow(&mut thread, &mut frames) {
            Ok(()) => End::Complete,
            Err(reason) => End::Truncated(reason),
        };
        (frames, end)
    }

    /// `Ok` when the outermost frame was reached.
    fn follow(&mut self, thread: &mut Thread<'_>, frames: &mut Vec<Address>) -> Result<(), Reason> {
        let registers = thread.raw.registers;
        let ip = registers.ip;
        let place = thread.place(ip).unwrap_or(Place::Unknown);
        let is_code = place != Place::Unknown;
        frames.push(Address { ip, is_return: false, place });
        if ip < USER_SPACE.start || !USER_SPACE.contains(&registers.sp) {
            return Err(Reason::NoRegisters);
        }
        if !is_code {
            return Err(Reason::NotCode(ip));
        }
        let mut regs = arch::regs(&registers);
        let mut by_frame_pointer = false;
        while let Some(address) = frames.last() {
            let sp = regs.sp();
            let frame = Frame { address, is_first: frames.len() == 1, by_frame_pointer };
            let caller = self.caller(&frame, &mut regs, thread)?;
            let (Caller::Certain(ip) | Caller::Guess(ip)) = caller else { return Ok(()) };
            let place = thread.place(ip.wrapping_sub(1)).ok_or(Reason::NotCode(ip));
            if matches!(caller, Caller::Guess(_)) {
                // A frame pointer that is none leads to values that are no return addresses. The outermost function may be
                // one that was never called: `runtime.goexit` in Go.
                let is_outermost = by_frame_pointer && regs.bp() == 0;
                match &place {
                    Ok(place) if is_outermost || self.is_call(place) => by_frame_pointer = true,
                    _ => return Err(no_frame_pointer(&address.place)),
                }
            } else {
                by_frame_pointer = false;
            }
            if regs.sp() <= sp {
                return Err(Reason::OffStack);
            }
            if frames.len() == MAX_FRAMES {
                return Err(Reason::TooDeep(MAX_FRAMES));
            }
            frames.push(Address { ip, is_return: true, place: place? });
        }
        Ok(())
    }

    /// The caller of a frame, by unwind info or else by the frame pointer. Not the latter where the system call is: a wrapper
    /// in a library does not keep one, and following its caller's would leave that caller out.
    fn caller(&mut self, frame: &Frame<'_>, regs: &mut Regs, thread: &mut Thread<'_>) -> Result<Caller, Reason> {
        match &frame.address.place {
            Place::Module { module, address } => match self.rule(module, *address) {
                Rule::Caller(cfa) => self.by_unwind_info(frame, module, *address, cfa, regs, thread),
                Rule::Outermost => Ok(Caller::None),
                Rule::Signal => Err(Reason::Signal),
                Rule::Unusable => Err(Reason::UnusableUnwindInfo(Arc::clone(module.path()))),
                Rule::None if module.is_entry(*address) => Ok(Caller::None),
                Rule::None if !module.is_go() => match self.by_code(frame, module, *address, regs, thread) {
                    Some(caller) => Ok(caller),
                    None if frame.is_first => Err(Reason::NoUnwindInfo(Arc::clone(module.path()))),
                    None => by_frame_pointer(frame, regs, thread),
                },
                Rule::None if !frame.is_first => by_frame_pointer(frame, regs, thread),
                Rule::None => {
                    // Go's system calls are made by functions without a frame: the return address is on top of the stack.
                    let ip = thread.read(regs.sp())?;
                    if thread.place(ip.wrapping_sub(1)).is_some_and(|place| self.is_call(&place)) {
                        regs.set_sp(regs.sp() + WORD);
                        return Ok(Caller::Guess(ip));
                    }
                    by_frame_pointer(frame, regs, thread)
                }
            },
            place @ Place::File { .. } if frame.is_first => Err(no_frame_pointer(place)),
            _ => self.by_ending(frame, regs, thread),
        }
    }

    fn by_unwind_info(
        &mut self,
        frame: &Frame<'_>,
        module: &Module,
        address: u64,
        cfa: Cfa,
        regs: &mut Regs,
        thread: &Thread<'_>,
    ) -> Result<Caller, Reason> {
        let unusable = || Reason::UnusableUnwindInfo(Arc::clone(module.path()));
        let cfa_at = cfa.resolve(regs).ok_or(Reason::OffStack)?;
        thread.read(cfa_at - WORD)?;
        let cfi = module.cfi().ok_or_else(unusable)?;
        let at = frame_address(frame.address, address).ok_or_else(unusable)?;
        let mut read = |address| thread.read(address).map_err(drop);
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
            Err(framehop::Error::CouldNotReadStack(address)) => Err(thread.missing(address)),
            Ok(Some(_)) | Err(_) => Err(unusable()),
        }
    }

    fn rule(&mut self, module: &Module, address: u64) -> Rule {
        let Some(cfi) = module.cfi() else { return Rule::None };
        if self.rules.len() >= MAX_KNOWN {
            self.rules.clear();
        }
        *self.rules.entry((module.id(), address)).or_insert_with(|| cfi.rule(address, &mut self.scratch))
    }

    /// Whether the code there, as far as it can be read, ends with a call.
    fn is_call(&mut self, place: &Place) -> bool {
        let Place::Module { module, address } = place else { return true };
        if self.calls.len() >= MAX_KNOWN {
            self.calls.clear();
        }
        *self.calls.entry((module.id(), *address)).or_insert_with(|| module.is_call(*address).unwrap_or(true))
    }
}

/// Code that keeps frame pointers has the caller's at `[fp]` and the return address above it. 0 marks the outermost frame
/// (System V ABI for x86-64, 3.4.1); in code that uses the register otherwise it means nothing, and code made at run time is
/// never the outermost.
fn by_frame_pointer(frame: &Frame<'_>, regs: &mut Regs, thread: &Thread<'_>) -> Result<Caller, Reason> {
    let place = &frame.address.place;
    let fp = regs.bp();
    if fp == 0 {
        let is_entry = matches!(place, Place::Module { module, address } if module.is_entry(*address));
        let is_outermost = is_entry || (frame.by_frame_pointer && *place != Place::Jit);
        return if is_outermost { Ok(Caller::None) } else { Err(no_frame_pointer(place)) };
    }
    if fp < regs.sp() || !fp.is_multiple_of(WORD) {
        return Err(no_frame_pointer(place));
    }
    let or_beyond = |reason| match reason {
        Reason::CopyEnded(_) => reason,
        _ => no_frame_pointer(place),
    };
    let caller_fp = thread.read(fp).map_err(or_beyond)?;
    let ip = thread.read(fp + WORD).map_err(or_beyond)?;
    if ip == 0 {
        return if caller_fp == 0 && frame.by_frame_pointer { Ok(Caller::None) } else { Err(no_frame_pointer(place)) };
    }
    regs.set_sp(fp + 2 * WORD);
    regs.set_bp(caller_fp);
    Ok(Caller::Guess(ip))
}

fn no_frame_pointer(place: &Place) -> Reason {
    match place {
        Place::Module { module, .. } => Reason::NoUnwindInfo(Arc::clone(module.path())),
        Place::File { path, why, .. } => Reason::Unreadable(Arc::clone(path), Arc::clone(why)),
        Place::Jit | Place::Unknown => Reason::NoFramePointer,
    }
}

/// What framehop calls the address of a frame, as the file counts them.
fn frame_address(frame: &Address, address: u64) -> Option<FrameAddress> {
    if frame.is_return {
        FrameAddress::from_return_address(address.checked_add(1)?)
    } else {
        Some(FrameAddress::from_instruction_pointer(address))
    }
}

/// The thread whose stack it is.
struct Thread<'a> {
    raw: &'a RawStack<'a>,
    space: &'a mut Space,
    modules: &'a mut Modules,
    /// Whether its mappings were read again for this stack.
    refreshed: bool,
}

impl Thread<'_> {
    /// What the code at an address belongs to.
    fn place(&mut self, address: u64) -> Option<Place> {
        self.space.find(address, self.modules).or_else(|| {
            if mem::replace(&mut self.refreshed, true) {
                return None;
            }
            self.space.refresh();
            self.space.find(address, self.modules)
        })
    }

    /// The word at an address of the captured stack.
    fn read(&self, address: u64) -> Result<u64, Reason> {
        if self.raw.missing.iter().any(|missing| missing.contains(&address)) {
            return Err(Reason::NotInMemory);
        }
        let word = || {
            let at = usize::try_from(address.checked_sub(self.raw.registers.sp)?).ok()?;
            self.raw.stack.get(at..)?.first_chunk().copied()
        };
        word().map(u64::from_le_bytes).ok_or_else(|| self.missing(address))
    }

    /// Why there is no word at this address.
    fn missing(&self, address: u64) -> Reason {
        let length = self.raw.stack.len();
        let end = self.raw.registers.sp.saturating_add(length as u64);
        let is_beyond = (end.saturating_sub(WORD)..end.saturating_add(STACK_SIZE)).contains(&address);
        if self.raw.truncated_copy && is_beyond { Reason::CopyEnded(length) } else { Reason::OffStack }
    }
}
