//! From code addresses to functions and lines.
//!
//! Reads the files that the unwinder holds open, so it needs neither their paths nor a living process. Slow for the first
//! address of a file: it has no place on the way of events.

mod files;
mod frame;
mod go;
mod interpreter;
mod kernel;
mod name;
mod perf_map;

pub use frame::{Frame, Function, Location};
pub use interpreter::{hint, is_interpreter};
pub use kernel::KernelSymbols;

use std::sync::Arc;

use crate::unwind::{Backing, CodeAddress, UnwoundStack};
use files::SymbolFiles;
use perf_map::PerfMaps;

/// Finds names, and remembers them. It stays on the thread that made it: what it parses is not shared.
#[derive(Debug, Default)]
pub struct Symbolizer {
    files: SymbolFiles,
    perf_maps: PerfMaps,
}

impl Symbolizer {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives back what was read of files, mostly debug info. The names that were found stay.
    pub fn close_files(&mut self) {
        self.files.close();
    }

    /// Names every address of a stack. Never fails: what to show of an address without a name is [`Frame::unnamed`].
    pub fn symbolize(&mut self, stack: &UnwoundStack) -> Vec<Frame> {
        let has_jit = stack.frames.iter().any(|address| address.backing == Backing::Jit);
        let perf_map = if has_jit { self.perf_maps.get(&stack.perf_map) } else { None };
        let frame = |address: &CodeAddress| {
            let ip = address.ip;
            match &address.backing {
                Backing::Module { module, address: at } => {
                    let functions = self.files.functions(module, *at);
                    Frame {
                        ip,
                        module: Some(Arc::clone(module.path())),
                        offset: at.wrapping_add(u64::from(address.is_return)),
                        functions,
                    }
                }
                Backing::Unreadable { path, offset, .. } => Frame {
                    ip,
                    module: Some(Arc::clone(path)),
                    offset: offset.wrapping_add(u64::from(address.is_return)),
                    functions: [].into(),
                },
                Backing::Jit => {
                    let name = perf_map.and_then(|map| map.name(ip.saturating_sub(u64::from(address.is_return))));
                    Frame { ip, module: None, offset: 0, functions: name.map(perf_map::function).into_iter().collect() }
                }
                Backing::Unknown => Frame { ip, module: None, offset: 0, functions: [].into() },
            }
        };
        stack.frames.iter().map(frame).collect()
    }
}
