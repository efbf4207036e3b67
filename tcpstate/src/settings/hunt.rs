//! What a hunt needs to begin, whichever command it is for.

use std::time::Duration;

use tcpstate_common::config::{Config, MAX_STACK, STACK_PIECE, filter};

use super::{
    buffer::Buffer,
    error::{MIN_INTERVAL, SettingsError},
    filter::Filter,
};
use crate::{
    cli::{AgeArgs, HuntArgs, LeaksOutputArgs},
    host::Host,
    report::folded::Weight,
};

/// Stacks that one CPU copies in a tenth of a second at most: 1 MiB of them at the default size.
const STACKS_PER_WINDOW: u32 = 64;

/// Settings of a hunt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HuntSettings {
    /// Which sockets to look at.
    pub filter: Filter,
    /// Whether the processes of the filter have not forked yet: nobody need look for their descendants at the start.
    pub newborn: bool,
    /// Only sockets that have been in CLOSE_WAIT for this long.
    pub older_than: Duration,
    /// Stacks are taken of closes that come so long after the peer's; `None` takes none.
    pub late_close: Option<Duration>,
    /// Whether every transition is told of, and not only what concerns leaks.
    pub transitions: bool,
    /// Whether it is told which process closes a socket.
    pub closers: bool,
    /// Whether to take kernel stacks, too.
    pub kernel_stack: bool,
    /// Bytes of each stack to copy.
    pub stack_bytes: u32,
    /// Stacks that one CPU copies in a tenth of a second at most.
    pub stacks_per_window: u32,
    /// Ring buffer of events.
    pub buffer: Buffer,
}

impl HuntSettings {
    /// A hunt for the leaks of all processes.
    ///
    /// # Errors
    ///
    /// When a size is out of range.
    pub fn new(age: AgeArgs, args: HuntArgs, host: &Host) -> Result<Self, SettingsError> {
        let AgeArgs { older_than } = age;
        Ok(Self {
            filter: Filter::default(),
            newborn: false,
            older_than,
            late_close: Some(older_than),
            transitions: false,
            closers: false,
            kernel_stack: false,
            stack_bytes: stack_bytes(args.stack_size)?,
            stacks_per_window: STACKS_PER_WINDOW,
            buffer: Buffer::round_up(args.buffer, host.page_size)?,
        })
    }

    /// What the BPF programs are loaded with. `wakeup_bytes` is [`Config::wakeup_bytes`].
    #[must_use]
    pub fn config(&self, wakeup_bytes: u32) -> Config {
        let mut config = self.filter.to_config(wakeup_bytes);
        let mut set = |wanted: bool, bit: u32| config.filters |= if wanted { bit } else { 0 };
        set(true, filter::LEAKS);
        set(self.transitions, filter::TRANSITIONS);
        set(self.closers, filter::CLOSERS);
        set(self.kernel_stack, filter::KERNEL_STACK);
        config.stack_bytes = self.stack_bytes;
        config.stacks_per_window = self.stacks_per_window;
        config.late_ns = self.late_close.and_then(|late| u64::try_from(late.as_nanos()).ok()).unwrap_or(u64::MAX);
        config
    }
}

/// Bytes of stacks that are copied where so many are asked for.
fn stack_bytes(asked: u64) -> Result<u32, SettingsError> {
    let bytes = u32::try_from(asked).ok().filter(|bytes| (STACK_PIECE..=MAX_STACK).contains(bytes));
    bytes.map(|bytes| bytes.next_multiple_of(STACK_PIECE)).ok_or(SettingsError::StackSize(asked))
}

/// Refuses reports or checkpoints that follow each other too fast.
pub(super) fn check_interval(interval: Duration) -> Result<(), SettingsError> {
    if interval < MIN_INTERVAL { Err(SettingsError::Interval(interval)) } else { Ok(()) }
}

/// What a flame graph weighs, if one was asked for.
pub(super) fn weight(args: LeaksOutputArgs) -> Result<Weight, SettingsError> {
    match args.weight {
        Some(_) if !args.output.is_flame_graph() => Err(SettingsError::Weight),
        weight => Ok(weight.unwrap_or_default()),
    }
}
