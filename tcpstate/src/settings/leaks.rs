//! Settings of `tcpstate leaks`.

use std::time::Duration;

use tcpstate_common::config::{Config, MAX_STACK, STACK_PIECE, filter};
use thiserror::Error;

use super::{SettingsError, buffer::Buffer, filter::Filter, wants_color};
use crate::{
    cli::{LeaksArgs, LeaksFormat},
    host::Host,
    report::folded::Weight,
};

/// Shortest time between two reports: each looks at every descriptor of the machine.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Stacks that one CPU copies in a tenth of a second at most: 1 MiB of them at the default size.
const STACKS_PER_WINDOW: u32 = 64;

/// Why the settings cannot be worked with.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LeaksError {
    /// Stacks of a size that is not copied.
    #[error("`--stack-size {0}` is out of range: ask for {STACK_PIECE} to {MAX_STACK} bytes (`--stack-size 16K`)")]
    StackSize(u64),
    /// Widths of what has none.
    #[error("`--weight` is about flame graphs: add `-o svg` or `-o folded`")]
    Weight,
    /// Reports too close to each other.
    #[error("`--interval {0:?}` is too short: ask for at least {MIN_INTERVAL:?}")]
    Interval(Duration),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaksSettings {
    /// Which sockets to look at.
    pub filter: Filter,
    /// Only sockets that have been in CLOSE_WAIT for this long.
    pub older_than: Duration,
    /// Time between two reports; `None` for a single look.
    pub interval: Option<Duration>,
    /// Groups shown at most.
    pub top: usize,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Bytes of each stack to copy.
    pub stack_bytes: u32,
    /// Whether to take kernel stacks, too.
    pub kernel_stack: bool,
    /// Ring buffer of events.
    pub buffer: Buffer,
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
        let stack_bytes = stack_bytes(args.stack_size)?;
        if args.weight.is_some() && !matches!(args.output, LeaksFormat::Folded | LeaksFormat::Svg) {
            return Err(LeaksError::Weight.into());
        }
        Ok(Self {
            filter: Filter::new(&args.filter, host)?,
            older_than: args.older_than,
            interval: (!args.once).then_some(args.interval),
            top: args.top as usize,
            duration: args.duration,
            stack_bytes,
            kernel_stack: args.kernel_stack,
            buffer: Buffer::round_up(args.buffer, host.page_size)?,
            output: args.output,
            weight: args.weight.unwrap_or_default(),
            color: wants_color(args.color, host),
        })
    }

    /// What the BPF programs are loaded with. `wakeup_bytes` is [`Config::wakeup_bytes`].
    #[must_use]
    pub fn config(&self, wakeup_bytes: u32) -> Config {
        hunting(self.filter.to_config(wakeup_bytes), self.stack_bytes, self.kernel_stack, self.older_than)
    }
}

/// Bytes of stacks that are copied where so many are asked for.
pub(super) fn stack_bytes(asked: u64) -> Result<u32, LeaksError> {
    let bytes = u32::try_from(asked).ok().filter(|bytes| (STACK_PIECE..=MAX_STACK).contains(bytes));
    bytes.map(|bytes| bytes.next_multiple_of(STACK_PIECE)).ok_or(LeaksError::StackSize(asked))
}

/// Refuses looks that follow each other too fast.
pub(super) fn check_interval(interval: Duration) -> Result<(), LeaksError> {
    if interval < MIN_INTERVAL { Err(LeaksError::Interval(interval)) } else { Ok(()) }
}

/// What the BPF programs are loaded with to hunt leaks.
pub(super) fn hunting(mut config: Config, stack_bytes: u32, kernel_stack: bool, late: Duration) -> Config {
    config.filters |= filter::LEAKS;
    if kernel_stack {
        config.filters |= filter::KERNEL_STACK;
    }
    config.stack_bytes = stack_bytes;
    config.stacks_per_window = STACKS_PER_WINDOW;
    config.late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
    config
}

#[cfg(test)]
mod tests {
    use clap::Parser;

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
        assert_eq!((settings.older_than, settings.interval), (Duration::from_secs(1), Some(Duration::from_secs(2))));
        assert_eq!((settings.top, settings.stack_bytes, settings.duration), (10, 16 << 10, None));
        let config = settings.config(4_096);
        assert_eq!((config.filters, config.stack_bytes, config.late_ns), (filter::LEAKS, 16 << 10, 1_000_000_000));
        assert!(config.stacks_per_window > 0);
    }

    #[test]
    fn one_look_has_no_interval() {
        assert_eq!(settings("--once").map(|settings| settings.interval), Ok(None));
        assert!(settings("--once --duration 5s").is_err());
    }

    #[test]
    fn stacks_are_copied_in_whole_pieces() {
        assert_eq!(settings("--stack-size 5000").map(|settings| settings.stack_bytes), Ok(5_120));
        assert_eq!(settings("--stack-size 64K").map(|settings| settings.stack_bytes), Ok(MAX_STACK));
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
        let flags = |arguments| settings(arguments).expect("valid").config(0).filters & filter::KERNEL_STACK;
        assert_eq!((flags(""), flags("--kernel-stack")), (0, filter::KERNEL_STACK));
    }

    #[test]
    fn reports_keep_a_distance() {
        let refusal = settings("--interval 10ms").expect_err("too short");
        assert!(refusal.contains("at least 100ms"), "{refusal}");
    }
}
