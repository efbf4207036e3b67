//! The modules in use.

use std::{collections::HashMap, fs::File, sync::Arc};

use tcpstate_wire::{ModuleId, Need, Supply, Unreadable, shortened};

use super::{image::ImageError, module::Module};
use crate::supplier::Supplier;

/// How many modules are kept. Each holds a file open.
pub const MOST_MODULES: usize = 256;
/// How much unwind info is kept in memory, bytes.
const MOST_BYTES: usize = 128 << 20;
/// Longest reason, bytes.
const LONGEST_REASON: usize = 200;

/// Every module in use.
#[derive(Debug, Default)]
pub struct Modules {
    /// With the number of the request that wanted it last.
    known: HashMap<ModuleId, (Arc<Module>, u64)>,
    requests: u64,
    /// Unwind info of all of `known`.
    bytes: usize,
    /// What could not be read since this was asked last.
    unreadable: Vec<Unreadable>,
}

impl Modules {
    /// Keeps the module that a file is, read now if it is not known.
    ///
    /// # Errors
    ///
    /// It is no ELF file, or it cannot be read; then it is noted, too.
    pub(super) fn insert(
        &mut self,
        id: ModuleId,
        file: File,
        supplier: &mut dyn Supplier,
    ) -> Result<Arc<Module>, ImageError> {
        if let Some(module) = self.known(id) {
            return Ok(module);
        }
        let module = match Module::load(id, file, supplier) {
            Ok(module) => Arc::new(module),
            Err(error) => {
                if !matches!(error, ImageError::NotElf) {
                    self.note(id, &error);
                }
                return Err(error);
            }
        };
        self.bytes += module.size();
        while (self.known.len() >= MOST_MODULES || self.bytes > MOST_BYTES)
            && let Some((&oldest, _)) = self.known.iter().min_by_key(|(_, (_, wanted))| *wanted)
            && let Some((module, _)) = self.known.remove(&oldest)
        {
            self.bytes -= module.size();
        }
        self.known.insert(id, (Arc::clone(&module), self.requests));
        Ok(module)
    }

    /// The module that has this number, read again if it was not kept.
    pub(crate) fn again(&mut self, id: ModuleId, supplier: &mut dyn Supplier) -> Option<Arc<Module>> {
        if let Some(module) = self.known(id) {
            return Some(module);
        }
        match supplier.supply(Need::Module(id)) {
            (Supply::Module { .. }, files) => self.insert(id, files.into_iter().next()?, supplier).ok(),
            _ => None,
        }
    }

    /// What could not be read since this was asked last.
    pub(crate) fn unreadable(&mut self) -> Vec<Unreadable> {
        std::mem::take(&mut self.unreadable)
    }

    /// Notes why a module cannot be read.
    pub(super) fn note(&mut self, module: ModuleId, why: &impl ToString) {
        let why = shortened(&why.to_string(), LONGEST_REASON);
        self.unreadable.push(Unreadable { module, why });
    }

    fn known(&mut self, id: ModuleId) -> Option<Arc<Module>> {
        self.requests += 1;
        let (module, wanted) = self.known.get_mut(&id)?;
        *wanted = self.requests;
        Some(Arc::clone(module))
    }
}
