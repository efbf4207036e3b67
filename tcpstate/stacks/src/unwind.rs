//! From a stack copy to addresses of code.
//!
//! Unwind info of the files that the process maps says where each caller is; where there is none the code itself is read, and else
//! the chain of frame pointers followed. An address is accepted only where code is mapped, and a stack says whether it was followed
//! to its end.

mod cfi;
mod image;
mod module;
mod modules;
mod space;
mod walk;

use std::{fmt, sync::Arc};

use tcpstate_wire::{Backing, CodeAddress, StackCopy, StackEnd, UnwoundStack};

pub(crate) use module::Module;
pub use modules::{MOST_MODULES, Modules};

use crate::supplier::Supplier;
use space::Spaces;
use walk::Walker;

/// A module as one process maps it.
pub(crate) struct Mapped {
    /// The broker's name for the memory that it is in.
    pub(crate) memory: u64,
    /// The file.
    pub(crate) module: Arc<Module>,
    /// What to add to an address of the file for it to become one of the process, wrapping.
    pub(crate) bias: u64,
}

/// Follows stacks, and remembers the processes that it has seen.
#[derive(Default)]
pub struct Unwinder {
    spaces: Spaces,
    walker: Walker,
}

impl fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwinder").field("spaces", &self.spaces).finish_non_exhaustive()
    }
}

impl Unwinder {
    /// Follows a stack of process `pid` as far as it goes. Never fails: [`UnwoundStack::end`] says what is missing.
    ///
    /// The first stack of a process asks for its mappings and the files on the way, so the process must be alive then. It need
    /// not be for the next ones, as long as they lead through the same files. `start_stack` tells one program that a process executes from
    /// the next.
    pub fn unwind(
        &mut self,
        pid: u32,
        start_stack: Option<u64>,
        copy: &StackCopy,
        modules: &mut Modules,
        supplier: &mut dyn Supplier,
    ) -> UnwoundStack {
        match self.spaces.get(pid, start_stack, supplier) {
            Ok(space) => self.walker.walk(copy, space, modules, supplier),
            Err(reason) => {
                let first = CodeAddress { ip: copy.registers.ip, is_return: false, backing: Backing::Unknown };
                UnwoundStack { frames: vec![first], end: StackEnd::Truncated(reason) }
            }
        }
    }

    /// The module that process `pid` has at `address`. `None`: there is none, it cannot be read, or the process is gone.
    pub(crate) fn module_at(
        &mut self,
        pid: u32,
        start_stack: Option<u64>,
        address: u64,
        modules: &mut Modules,
        supplier: &mut dyn Supplier,
    ) -> Option<Mapped> {
        let space = self.spaces.get(pid, start_stack, supplier).ok()?;
        let backing = space.find(address, modules, supplier).or_else(|| {
            space.refresh(supplier);
            space.find(address, modules, supplier)
        })?;
        let Backing::Module { module, address: of_file } = backing else { return None };
        Some(Mapped {
            memory: space.memory(),
            module: modules.again(module, supplier)?,
            bias: address.wrapping_sub(of_file),
        })
    }

    /// The broker's name for the memory of process `pid`. `None`: the process is gone, or executes another program.
    pub(crate) fn memory(&mut self, pid: u32, start_stack: Option<u64>, supplier: &mut dyn Supplier) -> Option<u64> {
        self.spaces.get(pid, start_stack, supplier).ok().map(|space| space.memory())
    }
}
