//! The least that a tracer can cost: programs of a few instructions at the same hooks, which `xtask/floor` attaches.

use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::{hooks, programs::Programs};

/// What the programs do, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Floor {
    /// Nothing, at each transition
    Empty,
    /// Read the clock and put a record as long as that of a transition into a ring buffer, at each transition
    Record,
    /// Nothing, wherever `tcpstate trace` has a program here
    Trace,
    /// Nothing, wherever `tcpstate leaks` has a program here
    Leaks,
}

const TRANSITIONS: &str = "inet_sock_set_state";

/// Whose hooks they are, as `tcpstate probes` calls the roles.
const OF_TRACE: &[&str] = &["transitions", "ends", "accept", "waiting-accepts"];
const OF_LEAKS: &[&str] = &["transitions", "ends", "accept", "waiting-accepts", "eof-reads", "splice-reads"];

impl Floor {
    /// What attaches it, and stays until SIGINT; the kernel detaches it then.
    ///
    /// # Errors
    ///
    /// `tcpstate` does not say which hooks it uses on this kernel.
    pub(super) fn command(self, programs: &Programs) -> Result<Command> {
        let mut command = Command::new(&programs.floor);
        match self {
            Self::Empty => command.args(["empty", TRANSITIONS]),
            Self::Record => command.args(["record", TRANSITIONS]),
            // A second one takes the transitions that interrupt the first.
            Self::Trace => command.arg("empty").args(hooks::chosen(&programs.tcpstate, OF_TRACE)?).arg(TRANSITIONS),
            Self::Leaks => command.arg("empty").args(hooks::chosen(&programs.tcpstate, OF_LEAKS)?).arg(TRANSITIONS),
        };
        Ok(command)
    }
}
