//! Names from ELF symbols and DWARF.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::fd::AsRawFd,
    path::Path,
    sync::Arc,
};

use blazesym::symbolize::{
    CodeInfo, Input, Sym, Symbolized, Symbolizer,
    source::{Elf, Source as SymbolSource},
};
use tcpstate_core::model::stack::Source;

use super::{function::Function, go::GoFunctions, name};
use crate::unwind::Module;

/// How many addresses are remembered with their names.
const MAX_NAMES: usize = 64 * 1024;
/// How many files are kept parsed. Each is mapped and held open.
const MAX_PARSED: usize = 128;

/// The files that were read.
#[derive(Debug)]
pub(super) struct SymbolFiles {
    symbolizer: Symbolizer,
    /// Modules that `symbolizer` has parsed.
    parsed: HashSet<u64>,
    names: HashMap<(u64, u64), Arc<[Function]>>,
    go: HashMap<u64, Option<GoFunctions>>,
}

impl Default for SymbolFiles {
    fn default() -> Self {
        Self { symbolizer: Symbolizer::new(), parsed: HashSet::new(), names: HashMap::new(), go: HashMap::new() }
    }
}

impl SymbolFiles {
    /// The functions at an address of a file, innermost first; none when no name is known.
    pub(super) fn functions(&mut self, module: &Module, address: u64) -> Arc<[Function]> {
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        if self.parsed.len() >= MAX_PARSED && !self.parsed.contains(&module.id()) {
            self.close();
        }
        let names = self.names.entry((module.id(), address)).or_insert_with(|| {
            self.parsed.insert(module.id());
            match find(&self.symbolizer, module, address) {
                Some(functions) => functions.into(),
                None => go(&mut self.go, module, address).into_iter().collect(),
            }
        });
        Arc::clone(names)
    }

    /// Gives back what was read. The names that were found stay.
    pub(super) fn close(&mut self) {
        self.parsed.clear();
        self.symbolizer = Symbolizer::new();
        self.go.clear();
    }
}

/// Debug info in a file of its own comes first. It may lack symbols that the file itself has, and what cannot be read as
/// debug info may still have symbols.
fn find(symbolizer: &Symbolizer, module: &Module, address: u64) -> Option<Vec<Function>> {
    let debug_file = module.debug_file().map(|file| (file, true));
    let sources = debug_file.into_iter().chain([(module.file(), true), (module.file(), false)]);
    sources.into_iter().find_map(|(file, dwarf)| look_up(symbolizer, module.path(), file, address, dwarf))
}

fn look_up(symbolizer: &Symbolizer, path: &Path, file: &File, address: u64, dwarf: bool) -> Option<Vec<Function>> {
    // The link leads to the open file itself, whatever became of its name; blazesym tells files apart by device, inode, size
    // and time, so a reused descriptor is another file.
    let mut elf = Elf::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    elf.debug_syms = dwarf;
    match symbolizer.symbolize_single(&SymbolSource::Elf(elf), Input::VirtOffset(address)) {
        Ok(Symbolized::Sym(symbol)) => Some(functions(symbol)),
        Ok(Symbolized::Unknown(_)) => None,
        Err(error) => {
            tracing::debug!(?path, dwarf, %error, "failed to symbolize 0x{address:x}");
            None
        }
    }
}

/// What a stripped Go program still says.
fn go(tables: &mut HashMap<u64, Option<GoFunctions>>, module: &Module, address: u64) -> Option<Function> {
    let table = tables
        .entry(module.id())
        .or_insert_with(|| GoFunctions::new(module.go_functions()?, module.text(), module.entry()));
    let name = table.as_ref()?.name(address)?;
    Some(Function { name, source: None, inlined: false })
}

fn functions(symbol: Sym<'_>) -> Vec<Function> {
    let function = |name: &str, info: Option<&CodeInfo<'_>>, inlined| Function {
        name: name::plain(name).to_owned(),
        source: info.map(|info| Source { file: info.to_path().into_owned(), line: info.line }),
        inlined,
    };
    let inlined = symbol.inlined.iter().rev().map(|inner| function(&inner.name, inner.code_info.as_ref(), true));
    inlined.chain([function(&symbol.name, symbol.code_info.as_deref(), false)]).collect()
}
