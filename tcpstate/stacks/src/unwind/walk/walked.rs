//! The stack under way: its words, and whose code an address is.

use std::mem;

use crate::{
    copy::StackCopy,
    unwind::{end::Truncation, module::Modules, space::Space, unwound::Backing},
};

/// Size of an address, bytes.
pub(super) const WORD: u64 = 8;
/// A frame this far beyond the copy may still be on the same stack (`RLIMIT_STACK` as it usually is), bytes.
const STACK_SIZE: u64 = 8 * 1024 * 1024;

/// The stack that is followed, and what tells whose code its addresses are.
pub(super) struct WalkedStack<'a> {
    pub(super) copy: &'a StackCopy<'a>,
    pub(super) space: &'a mut Space,
    pub(super) modules: &'a mut Modules,
    /// Whether its mappings were read again for this stack.
    refreshed: bool,
}

impl<'a> WalkedStack<'a> {
    pub(super) fn new(copy: &'a StackCopy<'a>, space: &'a mut Space, modules: &'a mut Modules) -> Self {
        Self { copy, space, modules, refreshed: false }
    }

    /// What the code at an address belongs to.
    pub(super) fn backing(&mut self, address: u64) -> Option<Backing> {
        self.space.find(address, self.modules).or_else(|| {
            if mem::replace(&mut self.refreshed, true) {
                return None;
            }
            self.space.refresh();
            self.space.find(address, self.modules)
        })
    }

    /// The word at an address of the copy.
    pub(super) fn read(&self, address: u64) -> Result<u64, Truncation> {
        if self.copy.missing.iter().any(|missing| missing.contains(&address)) {
            return Err(Truncation::NotInMemory);
        }
        let word = || {
            let at = usize::try_from(address.checked_sub(self.copy.registers.sp)?).ok()?;
            self.copy.bytes.get(at..)?.first_chunk().copied()
        };
        word().map(u64::from_le_bytes).ok_or_else(|| self.missing(address))
    }

    /// Why there is no word at this address.
    pub(super) fn missing(&self, address: u64) -> Truncation {
        let length = self.copy.bytes.len();
        let end = self.copy.registers.sp.saturating_add(length as u64);
        let is_beyond = (end.saturating_sub(WORD)..end.saturating_add(STACK_SIZE)).contains(&address);
        if self.copy.may_go_on && is_beyond { Truncation::CopyEnded(length) } else { Truncation::OffStack }
    }
}
