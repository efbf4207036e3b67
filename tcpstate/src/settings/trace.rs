//! Settings of `tcpstate trace`.

use std::{num::NonZeroU64, time::Duration};

use tcpstate_common::{
    config::{self, Config},
    state::TcpState,
};

use super::{buffer::Buffer, color::wants_color, error::SettingsError, filter::Filter};
use crate::{
    cli::{OutputFormat, TraceArgs},
    host::Host,
    report::clock::TimeStyle,
};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Which sockets' transitions to show.
    pub filter: Filter,
    /// States that a wanted transition leaves or enters; empty means any.
    pub states: Vec<TcpState>,
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
        args.state.iter().try_for_each(|&state| check_traced(state))?;
        Ok(Self {
            filter,
            states: args.state.clone(),
            output: args.output,
            time: args.text.time,
            color: wants_color(args.text.color, host),
            buffer: Buffer::round_up(args.buffer, host.page_size)?,
            duration: args.duration,
            count: args.count,
        })
    }

    /// What the BPF programs are loaded with. `wakeup_bytes` is [`Config::wakeup_bytes`].
    #[must_use]
    pub fn config(&self, wakeup_bytes: u32) -> Config {
        let mut config = self.filter.to_config(wakeup_bytes);
        if !self.states.is_empty() {
            config.filters |= config::filter::STATE;
            config.states = self.states.iter().fold(0, |mask, state| mask | state.bit());
        }
        config
    }
}

/// Refuses the states that `inet_sock_set_state` never reports, so that nobody waits for them.
pub(super) fn check_traced(state: TcpState) -> Result<(), SettingsError> {
    let remedy = match state {
        // tcp_time_wait() of net/ipv4/tcp_minisocks.c, Linux 6.18: the socket itself goes to CLOSE.
        TcpState::TimeWait => "the kernel goes FIN_WAIT2 → CLOSE and keeps a minisock; use `--state FIN_WAIT2`",
        TcpState::NewSynRecv => "it is that of connection requests, which are no sockets yet; use `--state SYN_RECV`",
        TcpState::BoundInactive => "only `sock_diag` reports it; use `--state CLOSE`",
        _ => return Ok(()),
    };
    Err(SettingsError::StateNotTraced { state, remedy })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(arguments: &str, host: &Host) -> Result<TraceSettings, String> {
        let arguments = ["tcpstate", "trace"].into_iter().chain(arguments.split_whitespace());
        let Command::Trace(args) = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command else {
            return Err("another command".to_owned());
        };
        TraceSettings::new(&args, host).map_err(|error| error.to_string())
    }

    fn host(colors: bool) -> Host {
        Host { colors, page_size: 4_096, ..Host::detect() }
    }

    #[test]
    fn defaults() {
        let expected = TraceSettings {
            filter: Filter::default(),
            states: Vec::new(),
            output: OutputFormat::Text,
            time: TimeStyle::Local,
            color: false,
            buffer: Buffer { bytes: 8 << 20, rounded_from: None },
            duration: None,
            count: None,
        };
        assert_eq!(settings("", &host(false)), Ok(expected));
    }

    #[test]
    fn what_is_given_is_used() {
        let arguments = "-o json --time relative --buffer 5000 --duration 1h30m --count 7 --state closewait";
        let settings = settings(arguments, &host(false)).expect("valid");
        assert_eq!((settings.output, settings.time), (OutputFormat::Json, TimeStyle::Relative));
        assert_eq!(settings.buffer, Buffer { bytes: 8_192, rounded_from: Some(5_000) });
        assert_eq!((settings.duration, settings.count), (Some(Duration::from_secs(5_400)), NonZeroU64::new(7)));
        assert_eq!(settings.states, [TcpState::CloseWait]);
        let config = settings.config(4_096);
        assert_eq!((config.filters, config.states), (config::filter::STATE, 1 << 8));
    }

    #[test]
    fn colors_are_for_terminals_unless_told() {
        for (arguments, terminal, color) in [
            ("", true, true),
            ("", false, false),
            ("--color auto", true, true),
            ("--color always", false, true),
            ("--color never", true, false),
        ] {
            assert_eq!(settings(arguments, &host(terminal)).map(|settings| settings.color), Ok(color), "{arguments}");
        }
    }

    #[test]
    fn states_that_no_transition_has_are_refused() {
        for (state, instead) in [("time-wait", "FIN_WAIT2"), ("new-syn-recv", "SYN_RECV"), ("bound-inactive", "CLOSE")]
        {
            let error = settings(&format!("--state close-wait,{state}"), &host(false)).expect_err("never traced");
            assert!(error.starts_with("no transition leaves or enters `"), "{error}");
            assert!(error.contains(&format!("use `--state {instead}`")), "{error}");
        }
    }

    #[test]
    fn errors_of_filters_and_buffer_arrive() {
        let error = settings("--comm a-name-that-is-too-long", &host(false)).expect_err("too long");
        assert!(error.contains("`a-name-that-is-too-long`"), "{error}");
        let error = settings("--buffer 1025M", &host(false)).expect_err("too large");
        assert!(error.contains("`--buffer 1G`"), "{error}");
    }
}
