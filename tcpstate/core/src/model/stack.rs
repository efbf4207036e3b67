//! Stacks with names, and threads asleep at them.

pub mod outline;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Comm;

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

impl Stack {
    /// That of a thread whose stack was not read, and why.
    #[must_use]
    pub fn unread(why: String) -> Self {
        Self { truncated: Some(why), ..Self::default() }
    }

    /// Whether it is one of those: each other one has at least the frame in which the thread is.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.frames.is_empty() && self.truncated.is_some()
    }
}

/// [`Frame::module`] of functions that `CPython` runs: their code is in no file that is mapped.
pub const PYTHON: &str = "[python]";

/// Parts of paths of Python's sources that are not the user's: the standard library, packages that were installed, and what is frozen into
/// the interpreter.
const OF_PYTHON: [&str; 4] = ["/lib/python3", "/site-packages/", "/dist-packages/", "<frozen "];

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
        if self.language().is_some() {
            let Some(source) = &self.source else { return false };
            let file = source.file.to_string_lossy();
            return OF_PYTHON.iter().any(|part| file.contains(part));
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

    /// What the function is written in, where an interpreter runs it.
    #[must_use]
    pub fn language(&self) -> Option<&'static str> {
        (self.module.as_deref() == Some(Path::new(PYTHON))).then_some("python")
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
