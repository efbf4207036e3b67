//! Settings of `tcpstate leaks`.

use std::time::Duration;

use super::{
    color::wants_color,
    error::SettingsError,
    filter::Filter,
    hunt::{HuntSettings, check_interval, weight},
};
use crate::{
    cli::{LeaksArgs, LeaksFormat},
    host::Host,
    report::folded::Weight,
};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaksSettings {
    /// The hunt.
    pub hunt: HuntSettings,
    /// Time between two reports; `None` for a single one.
    pub interval: Option<Duration>,
    /// Groups shown at most.
    pub top: usize,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Format of standard output.
    pub output: LeaksFormat,
    /// What a flame graph weighs.
    pub weight: Weight,
    /// Whether text output is coloured.
    pub color: bool,
}

impl LeaksSettings {
    /// Checks the arguments against this host.
    ///
    /// # Errors
    ///
    /// When they name what does not exist, or cannot be done.
    pub fn new(args: &LeaksArgs, host: &Host) -> Result<Self, SettingsError> {
        check_interval(args.interval)?;
        let hunt = HuntSettings::new(args.age, args.hunt, host)?;
        let weight = weight(args.output)?;
        Ok(Self {
            hunt: HuntSettings {
                filter: Filter::new(&args.filter, host)?,
                kernel_stack: args.kernel_stack,
                late_close: hunt.late_close.filter(|late| !late.is_zero()),
                ..hunt
            },
            interval: (!args.once).then_some(args.interval),
            top: args.top as usize,
            duration: args.duration,
            output: args.output.output,
            weight,
            color: wants_color(args.color, host),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tcpstate_common::config::{MAX_STACK, filter};

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(arguments: &str) -> Result<LeaksSettings, String> {
        let arguments = ["tcpstate", "leaks"].into_iter().chain(arguments.split_whitespace());
        let Command::Leaks(args) = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command else {
            return Err("another command".to_owned());
        };
        LeaksSettings::new(&args, &Host::detect()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_for_a_live_hunt() {
        let settings = settings("").expect("valid");
        assert_eq!(
            (settings.hunt.older_than, settings.interval),
            (Duration::from_secs(1), Some(Duration::from_secs(2)))
        );
        assert_eq!((settings.top, settings.hunt.stack_bytes, settings.duration), (10, 16 << 10, None));
        let config = settings.hunt.config(4_096);
        assert_eq!((config.filters, config.stack_bytes, config.late_ns), (filter::LEAKS, 16 << 10, 1_000_000_000));
        assert!(config.stacks_per_window > 0);
    }

    #[test]
    fn all_sockets_but_no_late_close() {
        let settings = settings("--older-than 0s").expect("valid");
        assert_eq!((settings.hunt.older_than, settings.hunt.late_close), (Duration::ZERO, None));
    }

    #[test]
    fn one_look_has_no_interval() {
        assert_eq!(settings("--once").map(|settings| settings.interval), Ok(None));
        assert!(settings("--once --duration 5s").is_err());
    }

    #[test]
    fn stacks_are_copied_in_whole_pieces() {
        assert_eq!(settings("--stack-size 5000").map(|settings| settings.hunt.stack_bytes), Ok(5_120));
        assert_eq!(settings("--stack-size 64K").map(|settings| settings.hunt.stack_bytes), Ok(MAX_STACK));
        for size in ["1000", "65K"] {
            let refusal = settings(&format!("--stack-size {size}")).expect_err("out of range");
            assert!(refusal.contains("--stack-size 16K"), "{refusal}");
        }
    }

    #[test]
    fn weight_is_about_flame_graphs() {
        assert_eq!(settings("-o svg --weight sockets").map(|settings| settings.weight), Ok(Weight::Sockets));
        assert_eq!(settings("-o folded").map(|settings| settings.weight), Ok(Weight::Seconds));
        let refusal = settings("--weight sockets").expect_err("no flame graph");
        assert!(refusal.contains("-o svg"), "{refusal}");
    }

    #[test]
    fn kernel_stacks_on_request() {
        let flags = |arguments| settings(arguments).expect("valid").hunt.config(0).filters & filter::KERNEL_STACK;
        assert_eq!((flags(""), flags("--kernel-stack")), (0, filter::KERNEL_STACK));
    }

    #[test]
    fn reports_keep_a_distance() {
        let refusal = settings("--interval 10ms").expect_err("too short");
        assert!(refusal.contains("at least 100ms"), "{refusal}");
    }
}
