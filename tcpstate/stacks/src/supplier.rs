//! Where the worker gets from what it needs.

use std::fs::File;

use tcpstate_wire::{Need, Supply};

/// Gives what is needed of the process or module that the task at hand is about.
pub trait Supplier {
    /// What there is, with files beside it. [`Supply::Gone`] also where nobody answers any more.
    fn supply(&mut self, need: Need) -> (Supply, Vec<File>);
}

/// Memory of the process: fewer bytes than asked for where it ends sooner.
pub(crate) fn memory(supplier: &mut dyn Supplier, address: u64, length: u32) -> Vec<u8> {
    match supplier.supply(Need::Memory { address, length }).0 {
        Supply::Memory(bytes) => bytes,
        _ => Vec::new(),
    }
}
