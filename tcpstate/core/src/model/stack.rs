//! Stacks as they are shown, and which of them are the same.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use hashbrown::HashMap;

use super::{Comm, leak::PlaceId};

/// A stack with names, innermost frame first. Equal ones are shown as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Inlined functions are frames of their own, before the one that they were inlined into.
    pub frames: Vec<Frame>,
    /// What the kernel was doing on its behalf, if that was asked for: names of functions, innermost first.
    pub kernel: Vec<String>,
    /// Why it could not be followed to its end, if so.
    pub truncated: Option<String>,
    /// How to get names that are missing, if there is a way.
    pub hint: Option<String>,
    /// Whose it is, where code that was made at run time has no name: its addresses mean nothing in another process. `None` in
    /// recordings, which do not have it.
    pub process: Option<u32>,
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
    /// Whether this is an interpreter at work for functions that have names of their own on the same stack.
    pub runtime: bool,
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The path that the compiler was given.
    pub file: PathBuf,
    /// `None` when only the file is known.
    pub line: Option<u32>,
}

/// Threads that sleep at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleepers {
    /// How many.
    pub threads: u64,
    /// Id of one of them.
    pub tid: u32,
    /// Process.
    pub pid: u32,
    /// Name of the one thread.
    pub comm: Comm,
    /// The system call that they sleep in, such as `futex`; `None` when they are in none, or in one of unknown number.
    pub syscall: Option<String>,
    /// Where.
    pub stack: Arc<Stack>,
}

/// Directories of libraries that the system brings.
const SYSTEM: [&str; 6] = ["/lib/", "/lib64/", "/lib32/", "/usr/lib/", "/usr/lib64/", "/usr/lib32/"];
/// Parts of source paths of code that came with a compiler or a package manager.
const FOREIGN: [&str; 5] = ["/rustc/", "/.cargo/registry/", "/usr/local/go/src/", "/usr/lib/go", "/pkg/mod/"];

impl Frame {
    /// Whether the code is most likely not the user's: an interpreter, a shared library of the system, or source that came with a compiler or
    /// a package manager. Only how it is shown depends on this.
    #[must_use]
    pub fn is_library(&self) -> bool {
        if self.runtime {
            return true;
        }
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
    /// What a reader can tell the stack from another by: functions, and lines where they are known. How often a function called
    /// itself does not count, nor does code that was made at run time and has no name: an interpreter enters and leaves it as it
    /// learns. Where there is such code, whose it is does, and how to get its names, which may be said of one process.
    fn look(&self) -> Look {
        let mut frames: Vec<Frame> = self.frames.iter().filter_map(Frame::look).collect();
        let hint = if frames.len() < self.frames.len() { self.hint.clone() } else { None };
        frames.dedup();
        Look { frames, hint, process: self.process }
    }
}

impl Frame {
    fn look(&self) -> Option<Self> {
        match (&self.function, &self.module) {
            (None, None) => None,
            (Some(_), _) => Some(Self { offset: 0, ..self.clone() }),
            (None, Some(_)) => Some(self.clone()),
        }
    }
}

/// See [`Stack::look()`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Look {
    frames: Vec<Frame>,
    hint: Option<String>,
    process: Option<u32>,
}

/// The stacks of places; places whose stacks look the same are one.
#[derive(Debug, Default)]
pub struct StackBook {
    stacks: HashMap<PlaceId, (Arc<Stack>, PlaceId)>,
    first: HashMap<Look, PlaceId>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: Option<&str>, module: Option<&str>, offset: u64) -> Frame {
        let module = module.map(|path| Path::new(path).into());
        Frame { function: function.map(str::to_owned), source: None, module, offset, inlined: false, runtime: false }
    }

    fn book(stacks: &[&[Frame]]) -> StackBook {
        let mut book = StackBook::default();
        for (id, frames) in (1..).zip(stacks) {
            book.insert(PlaceId(id), Stack { frames: frames.to_vec(), ..Stack::default() });
        }
        book
    }

    #[test]
    fn places_in_the_same_functions_are_one() {
        let (main, other) = (frame(Some("main"), Some("/bin/a"), 0x10), frame(Some("main"), Some("/bin/a"), 0x20));
        let jit = frame(None, None, 0x7f00_0000);
        let book = book(&[std::slice::from_ref(&main), &[other.clone(), main.clone()], &[jit, main.clone()]]);
        assert_eq!([1, 2, 3].map(|id| book.fold(PlaceId(id))), [PlaceId(1); 3]);
        assert_eq!(book.get(PlaceId(2)).map(|stack| stack.frames.len()), Some(2), "each is kept as it is");
    }

    #[test]
    fn code_without_names_is_not_another_process_s() {
        let frames = |pid: u64| vec![frame(None, None, pid << 32), frame(Some("main"), Some("/bin/node"), 0x10)];
        let live = |pid: u32| Stack { frames: frames(pid.into()), process: Some(pid), ..Stack::default() };
        let recorded = |pid: u32| Stack { hint: Some(format!("run `jcmd {pid} …`")), process: None, ..live(pid) };
        let mut book = StackBook::default();
        let stacks = [live(7), live(7), live(8), recorded(7), recorded(7), recorded(8)];
        for (id, stack) in (1..).zip(stacks) {
            book.insert(PlaceId(id), stack);
        }
        assert_eq!([1, 2, 3, 4, 5, 6].map(|id| book.fold(PlaceId(id))), [1, 1, 3, 4, 4, 6].map(PlaceId));
    }

    #[test]
    fn places_in_different_code_are_not() {
        let line = |line| Some(Source { file: "a.c".into(), line: Some(line) });
        let main = frame(Some("main"), Some("/bin/a"), 0x10);
        let stacks = [
            Frame { source: line(1), ..main.clone() },
            Frame { source: line(2), ..main.clone() },
            frame(Some("main"), Some("/bin/b"), 0x10),
            frame(None, Some("/bin/a"), 0x10),
            frame(None, Some("/bin/a"), 0x20),
        ];
        let stacks: Vec<_> = stacks.iter().map(std::slice::from_ref).collect();
        let book = book(&stacks);
        assert_eq!([1, 2, 3, 4, 5].map(|id| book.fold(PlaceId(id))), [1, 2, 3, 4, 5].map(PlaceId));
    }
}
