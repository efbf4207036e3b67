//! A file with code.

use std::{fmt, fs::File, os::unix::fs::FileExt};

use tcpstate_wire::{DebugFileWanted, ModuleId, Need};

use super::{
    cfi::Cfi,
    image::{Image, ImageError, Segment},
};
use crate::{arch, supplier::Supplier};

/// An ELF file that some process executes, as it was when it was first seen, and shared by all processes that map it.
pub(crate) struct Module {
    id: ModuleId,
    file: File,
    segments: Vec<Segment>,
    entry: u64,
    go: bool,
    cfi: Option<Cfi>,
}

impl Module {
    /// Reads `file`, which has this number. Its debug info is found now where it is in a file of its own: as long as the process lives,
    /// it is there.
    pub(super) fn load(id: ModuleId, file: File, supplier: &mut dyn Supplier) -> Result<Self, ImageError> {
        let image = Image::read(&file)?;
        let cfi = Cfi::load(&image, &file);
        let Image { segments, entry, build_id, go, dwarf, debug_link, .. } = image;
        if !dwarf {
            let by_build_id = build_id.map(DebugFileWanted::BuildId);
            let by_link = debug_link.map(DebugFileWanted::Link);
            for wanted in by_build_id.into_iter().chain(by_link) {
                if !supplier.supply(Need::DebugFile { module: id, wanted }).1.is_empty() {
                    break;
                }
            }
        }
        Ok(Self { id, file, segments, entry, go, cfi })
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Unique number of this module.
    pub(crate) fn id(&self) -> ModuleId {
        self.id
    }

    pub(super) fn cfi(&self) -> Option<&Cfi> {
        self.cfi.as_ref()
    }

    /// Memory that its unwind info takes, bytes.
    pub(super) fn size(&self) -> usize {
        self.cfi.as_ref().map_or(0, Cfi::size)
    }

    pub(super) fn is_go(&self) -> bool {
        self.go
    }

    /// Whether `address` lies in the few instructions with which the program begins.
    pub(super) fn is_entry(&self, address: u64) -> bool {
        self.entry != 0 && (self.entry..self.entry.saturating_add(64)).contains(&address)
    }

    /// What to add to an address of the file for it to become one of a process that maps it at `start` from `offset` on,
    /// wrapping.
    pub(super) fn bias(&self, start: u64, end: u64, offset: u64) -> Option<u64> {
        let mapped = offset..offset.saturating_add(end.saturating_sub(start));
        let overlaps = |segment: &&Segment| {
            segment.offset < mapped.end && segment.offset.saturating_add(segment.size) > mapped.start
        };
        let candidates = || self.segments.iter().filter(overlaps);
        let segment = candidates().find(|segment| segment.executable).or_else(|| candidates().next())?;
        Some(start.wrapping_sub(offset).wrapping_add(segment.offset).wrapping_sub(segment.address))
    }

    /// Reads code from an address of the file on: at most [`arch::CODE_PIECE`] bytes, less where it ends before. `None`: there is none,
    /// or it cannot be read.
    pub(super) fn code(&self, address: u64) -> Option<Vec<u8>> {
        let segment = self.segments.iter().find(|segment| {
            segment.executable && (segment.address..segment.address.saturating_add(segment.size)).contains(&address)
        })?;
        let into = address - segment.address;
        let length = usize::try_from(segment.size - into).map_or(arch::CODE_PIECE, |left| left.min(arch::CODE_PIECE));
        let mut code = vec![0; length];
        self.file.read_exact_at(&mut code, segment.offset.checked_add(into)?).ok()?;
        Some(code)
    }

    /// Whether the instruction whose last byte is at `address` is a call. `None`: it cannot be read.
    pub(super) fn is_call(&self, address: u64) -> Option<bool> {
        let segment = self.segments.iter().find(|segment| {
            segment.executable && (segment.address..segment.address.saturating_add(segment.size)).contains(&address)
        })?;
        let into = address - segment.address + 1;
        let length = into.min(arch::MAX_CALL as u64) as usize;
        let mut code = [0; arch::MAX_CALL];
        let code = &mut code[..length];
        self.file.read_exact_at(code, segment.offset.checked_add(into)?.checked_sub(length as u64)?).ok()?;
        Some(arch::ends_with_call(code))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({})", self.id.0)
    }
}
