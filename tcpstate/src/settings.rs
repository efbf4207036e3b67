//! What was asked for on the command line, checked once and for all.

pub mod buffer;
pub mod filter;
pub mod host;
mod mounts;
pub mod parse;

use std::{num::NonZeroU64, time::Duration};

use clap::ColorChoice;
use tcpstate_common::state::TcpState;
use thiserror::Error;

use self::{
    buffer::{Buffer, BufferTooLarge},
    filter::{Filter, FilterError},
    host::Host,
};
use crate::{
    cli::{OutputFormat, TraceArgs},
    report::clock::TimeStyle,
};

/// Why the settings cannot be worked with.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The ring buffer.
    #[error(transparent)]
    Buffer(#[from] BufferTooLarge),
    /// A state that is never the old or the new one of a transition.
    #[error("no transition leaves or enters `{}`: {remedy}", .state.name())]
    StateNotTraced {
        /// The state.
        state: TcpState,
        /// What to ask for instead.
        remedy: &'static str,
    },
}

/// Settings of `tcpstate trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Which transitions to show.
    pub filter: Filter,
    /// Format of standard output.
    pub output: OutputFormat,
    /// How text output shows the time.
    pub time: TimeStyle,
    /// Whether text output is coloured.
    pub color: bool,
    /// Ring buffer.
    pub buffer: Buffer,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Stop after this many transitions.
    pub count: Option<NonZeroU64>,
}

impl TraceSettings {
    /// Checks the arguments against this host.
    ///
    /// # Errors
    ///
    /// When they name what does not exist, or could never match.
    pub fn new(args: &TraceArgs, host: &Host) -> Result<Self, SettingsError> {
        let filter = Filter::new(&args.filter, host)?;
        filter.states().iter().try_for_each(|&state| check_traced(state))?;
        Ok(Self {
            filter,
            output: args.output.output,
            time: args.output.time,
            color: match args.output.color {
                ColorChoice::Always => true,
                ColorChoice::Auto => host.colors,
                ColorChoice::Never => false,
            },
            buffer: Buffer::round_up(args.buffer, host.page_size)?,
            duration: args.duration,
            count: args.count,
        })
    }
}

/// Refuses the states that `inet_sock_set_state` never reports, so that nobody waits for them.
fn check_traced(state: TcpState) -> Result<(), SettingsError> {
    let remedy = match state {
        // tcp_time_wait() of net/ipv4/tcp_minisocks.c, Linux 6.18: the socket itself goes to CLOSE.
        TcpState::TimeWait => "the kernel goes FIN_WAIT2 → CLOSE and keeps a minisock; use `--state FIN_WAIT2`",
        TcpState::NewSynRecv => "it is that of connection requests, which are no sockets yet; use `--state SYN_RECV`",
        TcpState::BoundInactive => "only `sock_diag` reports it; use `--state CLOSE`",
        _ => return Ok(()),
    };
    Err(SettingsError::StateNotTraced { state, remedy })
}
