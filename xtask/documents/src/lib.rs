//! The documents of tcpstate as its tests see them.
//!
//! What a document shows has to be true: each command of a document is run by a test, parsed by the program's own command line,
//! or stands in [`UNRUN`] with the reason. Texts are embedded, so that the tests which need root have them in guests, too.
//!
//! - this crate's own tests: every command is covered, links lead somewhere, cargo knows the names;
//! - `tcpstate/tests/docs`: the command line of `tcpstate` takes its commands;
//! - `tcpstate/tests/privileged/docs`: they are run;
//! - the tests of `xtask`: the command line of `cargo xtask` takes its commands.

mod command;
mod document;
mod shell;
mod unrun;

pub use command::{Coverage, Shown};
pub use document::{CodeBlock, Document, Heading, Link};
pub use shell::{Invocation, invocations};
pub use unrun::{UNRUN, Unrun};

/// Embeds documents by their paths in the repository.
macro_rules! documents {
    ($($path:literal),+ $(,)?) => {
        &[$(Document { path: $path, text: include_str!(concat!("../../../", $path)) }),+]
    };
}

/// All documents of the repository, whoever reads them.
pub const DOCUMENTS: &[Document] = documents![
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/ci.md",
    "docs/cost.md",
    "docs/doctor.md",
    "docs/kernels-and-privileges.md",
    "docs/leaks.md",
    "docs/limits.md",
    "docs/recordings.md",
    "docs/states.md",
    "docs/trace.md",
    "docs/upstream.md",
    "docs/verdicts.md",
    "tcpstate/schema/recording-v1.md",
    "tcpstate/tests/scenarios/README.md",
];

/// The commands of all documents.
pub fn commands() -> impl Iterator<Item = Shown> {
    DOCUMENTS.iter().flat_map(Document::commands)
}
