//! What comes out: frames with names.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One address of a stack with its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The address in the process: of the instruction, or of the one after the call.
    pub ip: u64,
    /// Path of the file in the mount namespace of the process; `None` for code that is in no file. Escape it before showing it.
    pub module: Option<Arc<Path>>,
    /// `ip` as the file counts addresses, or the offset in a file that could not be read; 0 without a file.
    pub offset: u64,
    /// Innermost first: functions that were inlined there, then the one whose code it is. Empty when no name is known.
    pub functions: Arc<[Function]>,
}

/// A function, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Demangled, without the marks of clones and hashes. Some compiler wrote it: escape it before showing it.
    pub name: String,
    /// The instruction's place, where debug info knows it. Of a function in a perf map, the place where it begins.
    pub location: Option<Location>,
    /// Whether it was inlined into the function that follows.
    pub inlined: bool,
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The path that the compiler was given. Escape it before showing it.
    pub file: PathBuf,
    /// `None` when only the file is known.
    pub line: Option<u32>,
}

impl Frame {
    /// What to show where no function is known: `libc.so.6+0x10e3b7`, or `[unknown] 0x7f5d4c028000` without a file. Escape it
    /// before showing it.
    #[must_use]
    pub fn unnamed(&self) -> String {
        let file_name = self.module.as_ref().map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
        match file_name {
            Some(name) => format!("{name}+0x{:x}", self.offset),
            None => format!("[unknown] 0x{:x}", self.ip),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            Some(line) => write!(f, "{file}:{line}"),
            None => write!(f, "{file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name() {
        let frame = |module: Option<&str>| Frame {
            ip: 0x7f00_0010,
            module: module.map(|path| Path::new(path).into()),
            offset: 0x10,
            functions: [].into(),
        };
        assert_eq!(frame(Some("/usr/lib/libc.so.6")).unnamed(), "libc.so.6+0x10");
        assert_eq!(frame(Some("[vdso]")).unnamed(), "[vdso]+0x10");
        assert_eq!(frame(Some("/")).unnamed(), "/+0x10");
        assert_eq!(frame(None).unnamed(), "[unknown] 0x7f000010");
    }
}
