//! The stack under way: its words, and whose code an address is.

use std::{mem, sync::Arc};

use tcpstate_wire::{Backing, ModuleId, StackCopy, Truncation};

use crate::{
    arch::Ending,
    supplier::{Supplier, memory},
    unwind::{module::Module, modules::Modules, space::Space},
};

/// Size of an address, bytes.
pub(super) const WORD: u64 = 8;
/// A frame this far beyond the copy may still be on the same stack (`RLIMIT_STACK` as it usually is), bytes.
const STACK_SIZE: u64 = 8 * 1024 * 1024;

/// The stack that is followed, and what tells whose code its addresses are.
pub(super) struct WalkedStack<'a> {
    pub(super) copy: &'a StackCopy,
    pub(super) space: &'a mut Space,
    modules: &'a mut Modules,
    pub(super) supplier: &'a mut dyn Supplier,
    /// Whether its mappings were read again for this stack.
    refreshed: bool,
}

impl<'a> WalkedStack<'a> {
    pub(super) fn new(
        copy: &'a StackCopy,
        space: &'a mut Space,
        modules: &'a mut Modules,
        supplier: &'a mut dyn Supplier,
    ) -> Self {
        Self { copy, space, modules, supplier, refreshed: false }
    }

    /// What the code at an address belongs to, as far as the mappings are known.
    pub(super) fn known_backing(&mut self, address: u64) -> Option<Backing> {
        self.space.find(address, self.modules, self.supplier)
    }

    /// What the code at an address belongs to.
    pub(super) fn backing(&mut self, address: u64) -> Option<Backing> {
        self.known_backing(address).or_else(|| {
            if mem::replace(&mut self.refreshed, true) {
                return None;
            }
            self.space.refresh(self.supplier);
            self.known_backing(address)
        })
    }

    /// The module that has this number.
    pub(super) fn module(&mut self, id: ModuleId) -> Option<Arc<Module>> {
        self.modules.again(id, self.supplier)
    }

    /// How the function gives back its frame that goes on at an address.
    pub(super) fn ending(&mut self, ip: u64) -> Option<Ending> {
        self.space.ending(ip, self.supplier)
    }

    /// A word of the memory of the process, while that lasts.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        memory(self.supplier, address, WORD as u32).try_into().ok().map(u64::from_le_bytes)
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
        if self.copy.may_go_on && is_beyond { Truncation::CopyEnded(length as u64) } else { Truncation::OffStack }
    }
}
