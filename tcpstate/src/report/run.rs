//! What is said of a whole run: everything that its renderers need.

use std::{ffi::OsString, os::unix::process::ExitStatusExt as _, path::PathBuf, process::ExitStatus, time::Duration};

use tcpstate_core::{
    aggregate::leaks::{LeakFinding, Outcome},
    model::MonotonicNs,
};

use super::{clock::WallClock, leaks::LeakReport};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Killed(i32),
}

impl CommandEnd {
    /// The exit code by which shells tell how a command ended.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)),
        }
    }
}

impl From<ExitStatus> for CommandEnd {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Killed(signal),
            None => Self::Exited(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
        }
    }
}

/// A command's end and the sockets that it leaked.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub end: CommandEnd,
    /// When everything was attached, just before the command began.
    pub began: MonotonicNs,
    /// When its end was seen.
    pub ended: MonotonicNs,
    /// From the kernel's clock to the wall's.
    pub clock: WallClock,
    /// Only sockets that had been in CLOSE_WAIT for this long.
    pub older_than: Duration,
    /// Sockets that were in CLOSE_WAIT for longer leaked even if they were closed.
    pub max_dwell: Option<Duration>,
    /// What leaked.
    pub outcome: Outcome,
    /// The groups of the findings, in their order, with stacks and losses.
    pub leaks: LeakReport,
    /// The file of `--allow`.
    pub allow_list: Option<PathBuf>,
    /// Its rules.
    pub allowances: Vec<Allowance>,
    /// Descendants of the command that were still running.
    pub processes_left: u64,
}

/// A rule of the allow list, and what it let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Its line in the file.
    pub line: usize,
    /// Why these leaks may pass.
    pub reason: String,
    /// Sockets that it let pass.
    pub sockets: u64,
}

impl RunReport {
    /// Leaked sockets that no rule lets pass.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        self.outcome.leaked()
    }

    /// Findings that no rule lets pass; they come first.
    #[must_use]
    pub fn leaking(&self) -> &[LeakFinding] {
        let findings = &self.outcome.findings;
        &findings[..findings.iter().take_while(|finding| finding.rule.is_none()).count()]
    }

    /// How many nanoseconds the command ran.
    #[must_use]
    pub fn took_ns(&self) -> u64 {
        self.ended.0.saturating_sub(self.began.0)
    }

    /// The rules that let nothing pass.
    pub fn unused(&self) -> impl Iterator<Item = &Allowance> {
        self.allowances.iter().filter(|allowance| allowance.sockets == 0)
    }
}
