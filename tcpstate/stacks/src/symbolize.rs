//! From addresses of code to functions and lines.
//!
//! Reads files that it is given, so it needs neither their paths nor a living process. Slow for the first address of a file.

mod by_module;
mod demangle;
mod dwarf;
mod elf;
mod files;
mod function;
mod go;
#[cfg(test)]
mod hostile;
mod links;
mod name;
mod perf_map;
mod runtime_name;
mod shortened;
mod symbols;
mod work;

use std::{collections::HashMap, fs::File, sync::Arc};

use tcpstate_wire::{MapState, ModuleId, Need, Supply};

use crate::{supplier::Supplier, unwind::Module};
use by_module::ByModule;
use elf::ObjectFile;
use files::{SymbolFile, SymbolFiles};
use function::Function;
use perf_map::PerfMaps;

/// Finds names, and remembers them.
#[derive(Debug, Default)]
pub struct Namer {
    files: SymbolFiles,
    perf_maps: PerfMaps,
}

impl Namer {
    /// Gives back what was read of files, mostly debug info. The names that were found stay.
    pub(crate) fn close_files(&mut self) {
        self.files.close();
    }

    /// The functions at an address of a module, innermost first; none when no name is known.
    pub(crate) fn functions(&mut self, module: &Module, address: u64, supplier: &mut dyn Supplier) -> Arc<[Function]> {
        let file = SymbolFile { id: module.id(), file: module.file() };
        self.files.functions(file, &mut ByModule { module: module.id(), supplier }, address)
    }

    /// Whether debug info of a module was too much to read, so that some of its functions have no name or no line.
    pub(crate) fn was_too_much(&self, module: ModuleId) -> bool {
        self.files.was_too_much(module)
    }

    /// The functions of code that a process made at run time: out of its perf map, and of what it has from before it was forked out
    /// of that of the process that forked it. That one is of other memory otherwise: the page has to be still the same.
    pub(crate) fn jit_functions(&mut self, addresses: &[u64], supplier: &mut dyn Supplier) -> Vec<Option<Function>> {
        let mut names: HashMap<u64, Function> = HashMap::new();
        for generation in 0..Need::GENERATIONS {
            if addresses.iter().all(|address| names.contains_key(address)) {
                break;
            }
            let (supply, files) = supplier.supply(Need::PerfMap { generation });
            let (Supply::PerfMap(state), Some(file)) = (supply, files.into_iter().next()) else { continue };
            let MapState::There { pid, began } = state else { continue };
            let Some(map) = self.perf_maps.get((pid, began), &file) else { continue };
            for &address in addresses {
                if names.contains_key(&address) {
                    continue;
                }
                let Some(name) = map.name(address) else { continue };
                let is_its =
                    generation == 0 || supplier.supply(Need::IsShared { generation, address }).0 == Supply::Is(true);
                if is_its {
                    names.insert(address, runtime_name::function(&name));
                }
            }
        }
        addresses.iter().map(|address| names.get(address).cloned()).collect()
    }
}

/// Where the variables with these names are in a file, as it counts addresses: those that other files may use, or else, if the first
/// is not among them, those that were not stripped.
pub(crate) fn addresses<const N: usize>(file: &File, names: [&str; N]) -> [Option<u64>; N] {
    let none = [None; N];
    let Ok(file) = ObjectFile::read(file) else { return none };
    let tables = [file.dynamic_symbols(), file.symbols()];
    let mut found = tables.into_iter().flatten().map(|table| symbols::addresses(&table, names));
    found.find(|found| found.first().is_some_and(Option::is_some)).unwrap_or(none)
}
