//! What can be wrong with what was asked for.

use std::time::Duration;

use tcpstate_common::{
    config::{MAX_STACK, STACK_PIECE},
    state::TcpState,
};
use thiserror::Error;

use super::{allow::AllowError, buffer::BufferTooLarge, filter::FilterError};
use crate::host::HostError;

/// Shortest time between two reports or checkpoints: each has every socket or every descriptor of the machine read.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Why the settings cannot be worked with.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The ring buffer.
    #[error(transparent)]
    Buffer(#[from] BufferTooLarge),
    /// What it names does not exist here.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The file of `--allow`.
    #[error(transparent)]
    Allow(#[from] AllowError),
    /// A page of what there is none of.
    #[error("no command `{given}`: there are {known}")]
    NoCommand {
        /// What was given.
        given: String,
        /// All commands.
        known: String,
    },
    /// A state that is never the old or the new one of a transition.
    #[error("no transition leaves or enters `{}`: {remedy}", .state.name())]
    StateNotTraced {
        /// The state.
        state: TcpState,
        /// What to ask for instead.
        remedy: &'static str,
    },
    /// Stacks of a size that is not copied.
    #[error("`--stack-size {0}` is out of range: ask for {STACK_PIECE} to {MAX_STACK} bytes (`--stack-size 16K`)")]
    StackSize(u64),
    /// Reports or checkpoints too close to each other.
    #[error("`--interval {0:?}` is too short: ask for at least {MIN_INTERVAL:?}")]
    Interval(Duration),
    /// Counts too close to each other.
    #[error("`--watch {0:?}` is too short: ask for at least {MIN_INTERVAL:?}")]
    Watch(Duration),
    /// A dwell that every leak exceeds.
    #[error(
        "`--max-dwell {max_dwell:?}` is not above `--older-than {older_than:?}`, which is for sockets that are never closed: \
         lower the latter"
    )]
    Dwell {
        /// What was asked for.
        max_dwell: Duration,
        /// And this.
        older_than: Duration,
    },
    /// What other programs take for standard output.
    #[error(
        "a recording is not written to standard output: `-o -` wants the name of a file, `-o ./-` for that one, or \
         `-o /dev/stdout --overwrite` for a pipe"
    )]
    StandardOutput,
    /// Widths of what has none.
    #[error("`--weight` is about flame graphs: add `-o svg` or `-o folded`")]
    Weight,
    /// An output that only leaks have.
    #[error("a flame graph is of leaks: leave out `--show`")]
    FlameGraph,
    /// A filter that only transitions have.
    #[error("`--state` is about transitions or counts: add `--show trace` or `--show states`")]
    State,
    /// Groups of what is not counted.
    #[error("`--by` is about counts of sockets: add `--show states`")]
    By,
    /// A number of groups where none are shown.
    #[error("`--top` is about groups of leaks or counts, not about transitions: leave it out")]
    Top,
    /// A range without anything in it.
    #[error("`--to` is before `--from`: nothing is between them")]
    Range,
}

impl SettingsError {
    /// Whether the command line is wrong wherever it is given, and not only about what there is here.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Host(_) | Self::Filter(FilterError::Host(_)) | Self::Allow(_))
    }
}
