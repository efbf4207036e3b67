//! What a worker is given: a file, memory, a perf map, from what somebody else chose.

use std::{fs::File, io::Write as _};

use rustix::fs::{MemfdFlags, memfd_create};
use tcpstate_stacks::Supplier;
use tcpstate_wire::{FileVersion, MapState, Mappings, ModuleId, Need, Region, Supply};

/// The number of the only file.
pub(crate) const MODULE: ModuleId = ModuleId(7);

/// Gives what was chosen, whatever is asked of it.
#[derive(Debug, Default)]
pub(crate) struct Supplies {
    /// Where the process has its code.
    pub(crate) regions: Vec<Region>,
    /// What the file has.
    pub(crate) file: Vec<u8>,
    /// Where that is in memory.
    pub(crate) mapped_at: u64,
    /// What the perf map has.
    pub(crate) perf_map: Option<Vec<u8>>,
}

impl Supplies {
    fn file(&self) -> (Supply, Vec<File>) {
        let file = FileVersion { device: 1, inode: 1, size: self.file.len() as u64, modified: (0, 0) };
        (Supply::Module { file, module: Some(MODULE) }, vec![open(&self.file)])
    }

    fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let at = address.checked_sub(self.mapped_at).and_then(|at| usize::try_from(at).ok());
        let from = at.and_then(|at| self.file.get(at..)).unwrap_or_default();
        from[..length.min(from.len())].to_vec()
    }
}

impl Supplier for Supplies {
    fn supply(&mut self, need: Need) -> (Supply, Vec<File>) {
        let alone = |supply| (supply, Vec::new());
        match need {
            Need::Mappings => {
                let regions = self.regions.clone();
                alone(Supply::Mappings(Mappings {
                    start_stack: Some(1),
                    regions,
                    complete: true,
                    ..Mappings::default()
                }))
            }
            Need::IsCurrent { .. } | Need::IsShared { .. } => alone(Supply::Is(true)),
            Need::Mapped { .. } | Need::Module(_) => self.file(),
            Need::Memory { address, length } => alone(Supply::Memory(self.memory(address, length as usize))),
            // Debug info may well be in the file itself: one that leads to itself.
            Need::DebugFile { .. } => (Supply::DebugFiles, vec![open(&self.file)]),
            Need::PerfMap { .. } => match &self.perf_map {
                Some(text) => (Supply::PerfMap(MapState::There { pid: 1, began: Some(1) }), vec![open(text)]),
                None => alone(Supply::PerfMap(MapState::None)),
            },
        }
    }
}

fn open(content: &[u8]) -> File {
    let mut file = File::from(memfd_create("given", MemfdFlags::CLOEXEC).expect("a memfd"));
    file.write_all(content).expect("room");
    file
}
