//! Debug files as the worker is given them.

use std::{fs::File, os::unix::ffi::OsStrExt as _, path::Path};

use tcpstate_wire::{DebugFileWanted, ModuleId, Need};

use super::links::DebugFiles;
use crate::supplier::Supplier;

/// Those of one module.
pub(super) struct ByModule<'a> {
    pub(super) module: ModuleId,
    pub(super) supplier: &'a mut dyn Supplier,
}

impl ByModule<'_> {
    fn ask(&mut self, wanted: DebugFileWanted) -> Vec<File> {
        self.supplier.supply(Need::DebugFile { module: self.module, wanted }).1
    }
}

impl DebugFiles for ByModule<'_> {
    fn by_build_id(&mut self, id: &[u8]) -> Vec<File> {
        self.ask(DebugFileWanted::BuildId(id.to_vec()))
    }

    fn by_link(&mut self, name: &Path) -> Vec<File> {
        self.ask(DebugFileWanted::Link(name.as_os_str().as_bytes().to_vec()))
    }

    fn supplementary(&mut self, name: &Path, id: &[u8]) -> Vec<File> {
        let name = name.as_os_str().as_bytes().to_vec();
        self.ask(DebugFileWanted::Supplementary { name, build_id: id.to_vec() })
    }
}
