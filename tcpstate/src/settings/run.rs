//! Settings of `tcpstate run`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{allow::AllowList, error::SettingsError, filter::Filter, hunt::HuntSettings};
use crate::{cli::RunArgs, host::Host};

/// Stacks that one CPU copies in a tenth of a second at most: many more processes begin in a run than in a hunt.
const STACKS_PER_WINDOW: u32 = 256;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Sockets that were in CLOSE_WAIT for longer leaked even if they were closed.
    pub max_dwell: Option<Duration>,
    /// Leaks to let pass.
    pub allow: Option<AllowList>,
    /// Exit code when the command succeeded and sockets leaked.
    pub leak_exit_code: u8,
    /// Whether the command runs even if it cannot be traced.
    pub best_effort: bool,
    /// Where to write the report in `JUnit` XML.
    pub junit: Option<PathBuf>,
    /// Where to write the JSON report.
    pub report: Option<PathBuf>,
    /// Groups shown as text at most.
    pub top: usize,
    /// Whether text is coloured; `None` leaves it to the terminal.
    pub color: Option<bool>,
    hunt: HuntSettings,
}

impl RunSettings {
    /// Checks the arguments, and reads the file of `--allow`.
    ///
    /// # Errors
    ///
    /// When they cannot be worked with.
    pub fn new(args: &RunArgs, host: &Host) -> Result<Self, SettingsError> {
        let hunt = HuntSettings::new(args.age, args.hunt, host)?;
        let older_than = hunt.older_than;
        if let Some(max_dwell) = args.max_dwell.filter(|&max_dwell| max_dwell <= older_than) {
            return Err(SettingsError::Dwell { max_dwell, older_than });
        }
        Ok(Self {
            command: args.command.clone(),
            max_dwell: args.max_dwell,
            allow: args.allow.as_deref().map(AllowList::read).transpose()?,
            leak_exit_code: args.leak_exit_code,
            best_effort: args.best_effort,
            junit: args.junit.clone(),
            report: args.report.clone(),
            top: args.top as usize,
            color: match args.color {
                clap::ColorChoice::Always => Some(true),
                clap::ColorChoice::Never => Some(false),
                clap::ColorChoice::Auto => None,
            },
            hunt: HuntSettings {
                closers: true,
                // Whoever closes a socket is told of anyway.
                late_close: None,
                stacks_per_window: STACKS_PER_WINDOW,
                ..hunt
            },
        })
    }

    /// Only sockets that had been in CLOSE_WAIT for this long.
    #[must_use]
    pub fn older_than(&self) -> Duration {
        self.hunt.older_than
    }

    /// The hunt, of a process that has not forked yet and its descendants: those of the command.
    #[must_use]
    pub fn hunt(&self, pid: u32) -> HuntSettings {
        HuntSettings { filter: Filter::of_family(pid), newborn: true, ..self.hunt.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tcpstate_common::config::filter;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(arguments: &str) -> Result<RunSettings, String> {
        let arguments = ["tcpstate", "run"].into_iter().chain(arguments.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command else {
            return Err("another command".to_owned());
        };
        RunSettings::new(&args, &Host::detect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        for arguments in ["--top 3 -- pytest -x --top 5", "--top 3 pytest -x --top 5"] {
            let settings = settings(arguments).expect("valid");
            assert_eq!(settings.command, ["pytest", "-x", "--top", "5"], "{arguments}");
            assert_eq!((settings.top, settings.hunt.older_than, settings.leak_exit_code), (3, Duration::ZERO, 99));
        }
        assert!(settings("--top 3").is_err());
    }

    #[test]
    fn a_late_close_is_later_than_a_leak() {
        let refusal = settings("--max-dwell 1s --older-than 1s true").expect_err("never reached");
        assert!(refusal.contains("lower the latter"), "{refusal}");
        assert_eq!(settings("--max-dwell 2s true").expect("valid").max_dwell, Some(Duration::from_secs(2)));
    }

    #[test]
    fn only_the_command_and_its_descendants_are_followed() {
        let filters = settings("true").expect("valid").hunt(7).config(0).filters;
        assert_eq!(filters, filter::PID | filter::CHILDREN | filter::LEAKS | filter::CLOSERS);
    }
}
