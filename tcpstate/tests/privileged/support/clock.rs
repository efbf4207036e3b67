//! `CLOCK_MONOTONIC`, the clock of the tracer's `mono_ns`.

use std::time::Duration;

use rustix::{
    thread::clock_nanosleep_absolute,
    time::{ClockId, Timespec, clock_gettime},
};

use super::protocol::Span;

pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// When `action` happened, unless it failed.
pub(crate) fn span<E>(action: impl FnOnce() -> Result<(), E>) -> Result<Span, E> {
    let from_ns = monotonic_ns();
    action()?;
    Ok(Span { from_ns, to_ns: monotonic_ns() })
}

/// Sleeps until a moment; returns at once when it has passed.
pub(crate) fn sleep_until_ns(moment_ns: u64) {
    let moment = Timespec {
        tv_sec: (moment_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (moment_ns % 1_000_000_000).cast_signed(),
    };
    while clock_nanosleep_absolute(ClockId::Monotonic, &moment).is_err() {}
}

/// Time from `earlier` until now.
pub(crate) fn since_ns(earlier: u64) -> Duration {
    Duration::from_nanos(monotonic_ns().saturating_sub(earlier))
}
