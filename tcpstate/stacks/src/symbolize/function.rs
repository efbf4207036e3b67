//! What a file or a perf map says of an address.

use tcpstate_core::model::stack::Source;

/// A function, and the place in it: remembered by address, for all stacks that lead there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Demangled, without the marks of clones and hashes. Some compiler wrote it: escape it before showing it.
    pub(super) name: String,
    /// The instruction's place, where debug info knows it. Of a function in a perf map, the place where it begins.
    pub(super) source: Option<Source>,
    /// Whether it was inlined into the function that follows.
    pub(super) inlined: bool,
}
