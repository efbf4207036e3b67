//! Stacks as they are shown, and which of them are the same.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::leak::PlaceId;

/// A stack with names, innermost frame first. Equal ones are shown as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Inlined functions are frames of their own, before the one that they were inlined into.
    pub frames: Vec<Frame>,
    /// Why it could not be followed to its end, if so.
    pub truncated: Option<String>,
    /// How to get names that are missing, if there is a way.
    pub hint: Option<String>,
}

/// A function on a stack. Every name in it was chosen by others: escape it before showing it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Demangled; `None` when no name is known.
    pub function: Option<String>,
    /// Where in the source code, if debug info says so.
    pub source: Option<Source>,
    /// The file of the code; `None` for code made at run time.
    pub module: Option<Arc<Path>>,
    /// Offset in the file; without one the address.
    pub offset: u64,
    /// Whether the function was inlined into the next one.
    pub inlined: bool,
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The path that the compiler was given.
    pub file: PathBuf,
    /// `None` when only the file is known.
    pub line: Option<u32>,
}

/// Directories of libraries that the system brings.
const SYSTEM: [&str; 6] = ["/lib/", "/lib64/", "/lib32/", "/usr/lib/", "/usr/lib64/", "/usr/lib32/"];
/// Parts of source paths of code that came with a compiler or a package manager.
const FOREIGN: [&str; 5] = ["/rustc/", "/.cargo/registry/", "/usr/local/go/src/", "/usr/lib/go", "/pkg/mod/"];

impl Frame {
    /// Whether the code is most likely not the user's: a shared library of the system, or source that came with a compiler or
    /// a package manager. Only how it is shown depends on this.
    #[must_use]
    pub fn is_library(&self) -> bool {
        if let Some(source) = &self.source {
            let file = source.file.to_string_lossy();
            if FOREIGN.iter().any(|part| file.contains(part)) {
                return true;
            }
        }
        let Some(module) = self.module.as_deref() else { return false };
        let path = module.as_os_str().as_bytes();
        let name = self.module_name().map(OsStr::as_bytes).unwrap_or_default();
        let in_system = SYSTEM.iter().any(|directory| path.starts_with(directory.as_bytes()));
        let shared = name.windows(3).any(|part| part == b".so");
        path.starts_with(b"[") || in_system && shared
    }

    /// The last part of the module's path.
    #[must_use]
    pub fn module_name(&self) -> Option<&OsStr> {
        self.module.as_deref().map(|path| path.file_name().unwrap_or(path.as_os_str()))
    }

    /// The function, or where its code is: `libc.so.6+0x10e3b7`, `[unknown] 0x7f5d4c028000`. To be escaped.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.function, self.module_name()) {
            (Some(function), _) => function.clone(),
            (None, Some(module)) => format!("{}+{:#x}", module.to_string_lossy(), self.offset),
            (None, None) => format!("[unknown] {:#x}", self.offset),
        }
    }
}

impl Stack {
    /// What a reader can tell the stack from another by: two addresses in one line of source are the same place, and so are all
    /// addresses of code that was made at run time and has no name.
    fn look(&self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self.frames.iter().map(Frame::look).collect();
        frames.dedup_by(|next, frame| frame.is_nameless() && next == frame);
        frames
    }
}

impl Frame {
    fn look(&self) -> Self {
        let in_line = self.source.as_ref().is_some_and(|source| source.line.is_some());
        Self { offset: if in_line || self.is_nameless() { 0 } else { self.offset }, ..self.clone() }
    }

    /// Whether it is an address in code that was made at run time, and no more.
    fn is_nameless(&self) -> bool {
        self.function.is_none() && self.module.is_none()
    }
}

/// The stacks of places; places whose stacks look the same are one.
#[derive(Debug, Default)]
pub struct StackBook {
    stacks: HashMap<PlaceId, (Arc<Stack>, PlaceId)>,
    first: HashMap<Vec<Frame>, PlaceId>,
}

impl StackBook {
    /// Keeps the stack of a place.
    pub fn insert(&mut self, place: PlaceId, stack: Stack) {
        let first = *self.first.entry(stack.look()).or_insert(place);
        self.stacks.insert(place, (Arc::new(stack), first));
    }

    /// The stack of a place, if it is known.
    #[must_use]
    pub fn get(&self, place: PlaceId) -> Option<&Arc<Stack>> {
        self.stacks.get(&place).map(|(stack, _)| stack)
    }

    /// The place that stands for all places with the same stack.
    #[must_use]
    pub fn fold(&self, place: PlaceId) -> PlaceId {
        self.stacks.get(&place).map_or(place, |&(_, first)| first)
    }

    /// Forgets the stacks of all places but these. A place that stands for one of these stays, too.
    pub fn retain(&mut self, places: &BTreeSet<PlaceId>) {
        let needed: BTreeSet<_> = places.iter().flat_map(|&place| [place, self.fold(place)]).collect();
        self.stacks.retain(|place, _| needed.contains(place));
        self.first.retain(|_, place| needed.contains(place));
    }
}
