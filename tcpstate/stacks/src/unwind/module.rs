//! Files with code, shared by all processes that map them.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    hash::{Hash, Hasher},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    cfi::Cfi,
    image::{Image, ImageError, Section, Segment},
};
use crate::arch;

/// How many modules are kept while no stack needs them. Each holds a file open, or two.
const MAX_MODULES: usize = 256;
/// How much unwind info is kept in memory while no stack needs it, bytes.
const MAX_SIZE: usize = 256 * 1024 * 1024;

/// An ELF file that some process executes, as it was when it was first seen.
///
/// Holds the file open, so that its symbols can be read after it was replaced and after every process that maps it has ended.
pub struct Module {
    id: u64,
    path: Arc<Path>,
    file: File,
    debug_file: Option<File>,
    segments: Vec<Segment>,
    entry: u64,
    text: u64,
    go: bool,
    gopclntab: Option<Section>,
    cfi: Option<Cfi>,
}

impl Module {
    /// Reads `file`, which its process calls `path`. `find_debug_file` is given the build id where the file itself has no
    /// debug info.
    pub(super) fn load(
        path: &Path,
        file: File,
        find_debug_file: impl FnOnce(&[u8]) -> Option<File>,
    ) -> Result<Self, ImageError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let image = Image::read(&file)?;
        let cfi = Cfi::load(&image, &file);
        let Image { segments, entry, build_id, text, go, gopclntab, dwarf, .. } = image;
        let debug_file = if dwarf { None } else { build_id.as_deref().and_then(find_debug_file) };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id, path: path.into(), file, debug_file, segments, entry, text, go, gopclntab, cfi })
    }

    /// Its name in the mount namespace of the process that mapped it first. Chosen by whoever made the file: escape it before
    /// showing it.
    #[must_use]
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file with its debug info, where that is a file of its own.
    pub(crate) fn debug_file(&self) -> Option<&File> {
        self.debug_file.as_ref()
    }

    /// Unique number of this module.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The table of functions that the Go linker makes, read now.
    pub(crate) fn go_functions(&self) -> Option<Arc<[u8]>> {
        self.gopclntab?.load(&self.file).ok()
    }

    /// Address of the section `.text`; 0 when there is none.
    pub(crate) fn text(&self) -> u64 {
        self.text
    }

    /// Address where the program begins; 0 in most libraries.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }

    pub(super) fn cfi(&self) -> Option<&Cfi> {
        self.cfi.as_ref()
    }

    fn size(&self) -> usize {
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
        write!(f, "Module({}, {:?})", self.id, self.path)
    }
}

impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Module {}

impl Hash for Module {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// What tells one version of one file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Every module in use.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// With the number of the lookup that used it last.
    known: HashMap<FileId, (Arc<Module>, u64)>,
    lookups: u64,
    /// Of all of `known`.
    size: usize,
    /// The kernel's code in user space, with its bytes: the same in every process of one kind.
    vdso: Vec<(Vec<u8>, Arc<Module>)>,
}

impl Modules {
    /// The module of `file`, read now if it was never seen.
    pub(super) fn get(
        &mut self,
        path: &Path,
        file: File,
        find_debug_file: impl FnOnce(&[u8]) -> Option<File>,
    ) -> Result<Arc<Module>, ImageError> {
        let id = FileId::of(&file)?;
        self.lookups += 1;
        if let Some((module, used)) = self.known.get_mut(&id) {
            *used = self.lookups;
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(Module::load(path, file, find_debug_file)?);
        self.size += module.size();
        while (self.known.len() >= MAX_MODULES || self.size > MAX_SIZE)
            && let Some((&oldest, _)) = self.known.iter().min_by_key(|(_, (_, used))| *used)
            && let Some((module, _)) = self.known.remove(&oldest)
        {
            self.size -= module.size();
        }
        self.known.insert(id, (Arc::clone(&module), self.lookups));
        Ok(module)
    }

    /// The module whose memory is `image`: `[vdso]`, which is no file until it is made one here.
    pub(super) fn vdso(&mut self, image: Vec<u8>) -> Result<Arc<Module>, ImageError> {
        if let Some((_, module)) = self.vdso.iter().find(|(known, _)| *known == image) {
            return Ok(Arc::clone(module));
        }
        let file = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
        file.write_all_at(&image, 0)?;
        let module = Arc::new(Module::load(Path::new("[vdso]"), file, |_| None)?);
        // 64-bit, 32-bit and x32 processes have one each; memory that pretends to be one is not collected.
        if self.vdso.len() < 4 {
            self.vdso.push((image, Arc::clone(&module)));
        }
        Ok(module)
    }
}

impl FileId {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
