//! What is said of a whole run: everything that its renderers need.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use tcpstate_core::{
    aggregate::leaks::{Fate, Finding, Outcome},
    model::MonotonicNs,
};

use super::{clock::WallClock, leaks::LeakReport, words::ProcessText};
use crate::command::run::End;

/// A command's end and the sockets that it leaked.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub end: End,
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
    pub fn leaking(&self) -> &[Finding] {
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

/// What became of sockets, for people.
#[must_use]
pub(super) fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Exited => "closed only by exit",
        Fate::CleanedUp => "closed only at exit",
        Fate::Open => "open at the end",
        Fate::ClosedLate => "closed late",
    }
}

/// The process of a finding, and how many others of its name there are.
#[must_use]
pub(super) fn processes(finding: &Finding) -> String {
    let first = finding.group.process.map_or_else(|| "unknown process".to_owned(), |one| ProcessText(one).to_string());
    match finding.processes {
        0 | 1 => first,
        n => format!("{first} and {} more of its name", n - 1),
    }
}
