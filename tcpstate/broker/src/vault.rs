//! The files with code that were opened, by number, whichever processes map them.
//!
//! The tracer keeps them open, so that names are found when a file was replaced, when its process has ended, and when the worker or the
//! broker had to be replaced. It reads nothing of them.

use std::{collections::HashMap, os::fd::OwnedFd, path::Path, sync::Arc};

use tcpstate_wire::{DebugFileWanted, FileVersion, ModuleId, Subject};

/// How many files are held open. Beyond that the one goes that was wanted least recently; as long as its process lives, it can be opened
/// again.
const MOST_OPEN: usize = 512;
/// How many files are known by number. Beyond that the least recently wanted one is forgotten: its frames have no names any more.
const MOST_KNOWN: usize = 8192;

/// What is known of a file.
#[derive(Debug)]
pub struct Entry {
    /// Its path, as the process called it that mapped it first. Chosen by whoever made the file: escape it before showing it.
    pub path: Arc<Path>,
    /// Why it cannot be read, if so.
    pub unreadable: Option<Arc<str>>,
    /// The process that mapped it first, and the first and the last address there.
    pub(crate) from: (Subject, u64, u64),
    key: Key,
    file: Option<OwnedFd>,
    debug_files: Vec<(DebugFileWanted, Vec<OwnedFd>)>,
    wanted: u64,
}

impl Entry {
    /// The process that mapped it first.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.from.0
    }
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A file that was opened.
    File(FileVersion),
    /// The kernel's code in user space.
    Vdso(Vec<u8>),
    /// A file that could not be opened, by device and inode where these are known, and path.
    Unreadable(Option<((u32, u32), u64)>, Arc<Path>),
}

impl Key {
    /// What tells the file from others; zeros where there is none.
    pub(crate) fn file(&self) -> FileVersion {
        match self {
            Self::File(file) => *file,
            Self::Vdso(image) => FileVersion { device: 0, inode: 0, size: image.len() as u64, modified: (0, 0) },
            Self::Unreadable(..) => FileVersion { device: 0, inode: 0, size: 0, modified: (0, 0) },
        }
    }
}

/// The files, by number.
#[derive(Debug, Default)]
pub struct Vault {
    entries: HashMap<ModuleId, Entry>,
    numbers: HashMap<Key, ModuleId>,
    next: u32,
    /// Counts what was wanted.
    requests: u64,
    /// Entries that have a file open.
    open: usize,
}

impl Vault {
    /// The entry of a number, if it is still known.
    #[must_use]
    pub fn get(&self, module: ModuleId) -> Option<&Entry> {
        self.entries.get(&module)
    }

    /// Notes that a file cannot be read, and why.
    pub fn give_up(&mut self, module: ModuleId, why: &str) {
        if let Some(entry) = self.entries.get_mut(&module) {
            entry.unreadable = Some(why.into());
        }
    }

    /// The number of a file, given now if it is new.
    pub(crate) fn number(
        &mut self,
        key: Key,
        path: &Path,
        from: (Subject, u64, u64),
        file: Option<OwnedFd>,
    ) -> ModuleId {
        self.requests += 1;
        if let Some(&module) = self.numbers.get(&key)
            && let Some(entry) = self.entries.get_mut(&module)
        {
            entry.wanted = self.requests;
            if let (None, Some(file)) = (&entry.file, file) {
                entry.file = Some(file);
                self.open += 1;
                self.make_room();
            }
            return module;
        }
        if self.entries.len() >= MOST_KNOWN
            && let Some((&oldest, _)) = self.entries.iter().min_by_key(|(_, entry)| entry.wanted)
            && let Some(entry) = self.entries.remove(&oldest)
        {
            self.numbers.remove(&entry.key);
            self.open -= usize::from(entry.file.is_some());
        }
        let module = ModuleId(self.next);
        self.next = self.next.wrapping_add(1);
        self.open += usize::from(file.is_some());
        let (path, wanted) = (path.into(), self.requests);
        let entry = Entry { path, unreadable: None, from, key: key.clone(), file, debug_files: Vec::new(), wanted };
        self.entries.insert(module, entry);
        self.numbers.insert(key, module);
        self.make_room();
        module
    }

    /// The file of a number, and what tells it from others, if it is still open.
    pub(crate) fn file(&mut self, module: ModuleId) -> Option<(FileVersion, &OwnedFd)> {
        self.requests += 1;
        let entry = self.entries.get_mut(&module)?;
        entry.wanted = self.requests;
        Some((entry.key.file(), entry.file.as_ref()?))
    }

    /// Takes a file that was opened again.
    pub(crate) fn reopened(&mut self, module: ModuleId, id: FileVersion, file: OwnedFd) {
        if let Some(entry) = self.entries.get_mut(&module)
            && entry.key == Key::File(id)
            && entry.file.replace(file).is_none()
        {
            self.open += 1;
            self.make_room();
        }
    }

    /// The debug files of a module that were found earlier.
    pub(crate) fn debug_files(&self, module: ModuleId, wanted: &DebugFileWanted) -> Option<&[OwnedFd]> {
        let found = self.entries.get(&module)?.debug_files.iter().find(|(known, _)| known == wanted)?;
        Some(&found.1)
    }

    /// Keeps the debug files of a module.
    pub(crate) fn keep_debug_files(&mut self, module: ModuleId, wanted: &DebugFileWanted, files: Vec<OwnedFd>) {
        /// By build id, by name, and what it has in common with others.
        const MOST: usize = 3;
        if let Some(entry) = self.entries.get_mut(&module)
            && entry.debug_files.len() < MOST
        {
            entry.debug_files.push((wanted.clone(), files));
        }
    }

    fn make_room(&mut self) {
        while self.open > MOST_OPEN {
            let open = self.entries.values_mut().filter(|entry| entry.file.is_some());
            let Some(oldest) = open.min_by_key(|entry| entry.wanted) else { return };
            (oldest.file, oldest.debug_files) = (None, Vec::new());
            self.open -= 1;
        }
    }
}
