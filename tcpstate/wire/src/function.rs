//! Functions by name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a file or a perf map says of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Demangled, without the marks of clones and hashes. Some compiler wrote it: escape it before showing it.
    pub name: String,
    /// The instruction's place, where debug info knows it. Of a function in a perf map, the place where it begins.
    pub source: Option<FunctionSource>,
    /// Whether it was inlined into the function that follows.
    pub inlined: bool,
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSource {
    /// The path that the compiler was given.
    pub file: PathBuf,
    /// `None` when only the file is known.
    pub line: Option<u32>,
}
