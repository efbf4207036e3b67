//! The commands that documents show.

use crate::{
    shell::{Invocation, invocations},
    unrun::{UNRUN, Unrun},
};

/// A command line that a document shows to be typed or to stand in a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The document's path in the repository.
    pub document: &'static str,
    /// Where in the document it begins, from 1.
    pub line: usize,
    /// As a shell reads it, continued lines joined.
    pub text: String,
}

impl Shown {
    /// What it runs, in order.
    #[must_use]
    pub fn invocations(&self) -> Vec<Invocation> {
        invocations(&self.text)
    }

    /// Why no test runs it, where none does.
    #[must_use]
    pub fn unrun(&self) -> Option<&'static Unrun> {
        UNRUN.iter().find(|unrun| unrun.text == self.text)
    }

    /// How a test looks after it; `None` where none does.
    #[must_use]
    pub fn coverage(&self) -> Option<Coverage> {
        if self.unrun().is_some() {
            return Some(Coverage::Listed);
        }
        let invocations = self.invocations();
        let is_run = |invocation: &Invocation| match invocation {
            Invocation::Tcpstate(_) => true,
            Invocation::Xtask(_) => false,
            Invocation::Other(words) => words.first().is_some_and(|name| TOOLS.contains(&&**name)),
        };
        if invocations.iter().all(|invocation| matches!(invocation, Invocation::Xtask(_))) {
            Some(Coverage::Parsed)
        } else if invocations.iter().all(is_run) {
            Some(Coverage::Run)
        } else {
            None
        }
    }
}

/// What beside `tcpstate` a test may run as it stands.
const TOOLS: [&str; 3] = ["ss", "tail", "wc"];

/// How a test looks after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It is run, as root.
    Run,
    /// The command line of `cargo xtask` takes it, if it runs anything at all.
    Parsed,
    /// It is one of [`UNRUN`]. What it has of `tcpstate` is parsed all the same.
    Listed,
}
