//! The kernel's clock → times for people. The caller reads the clocks; here is only arithmetic.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

use crate::model::MonotonicNs;

/// Maps `CLOCK_MONOTONIC` to wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// `CLOCK_REALTIME - CLOCK_MONOTONIC` at one moment, nanoseconds.
    pub offset_ns: i64,
}

impl WallClock {
    /// Wall time of a moment; the nearest that can be written when it lies beyond.
    #[must_use]
    pub fn at(self, moment: MonotonicNs) -> Timestamp {
        let ns = i128::from(moment.0) + i128::from(self.offset_ns);
        Timestamp::from_nanosecond(ns).unwrap_or(if ns < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}

/// How text output shows the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// `HH:MM:SS.mmm` in the local zone.
    #[default]
    Local,
    /// RFC 3339 in the local zone with its offset, microseconds.
    Rfc3339,
    /// Seconds since the trace began, microseconds.
    Relative,
    /// Nothing.
    None,
}

/// Writes moments in one style.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    /// The style.
    pub style: TimeStyle,
    /// Wall time of the kernel's clock.
    pub clock: WallClock,
    /// When the trace began.
    pub start: MonotonicNs,
    /// The local zone.
    pub zone: TimeZone,
}

impl TimeFormat {
    /// A moment, to be written with [`fmt::Display`]; empty for [`TimeStyle::None`].
    #[must_use]
    pub fn at(&self, moment: MonotonicNs) -> FormattedTime<'_> {
        FormattedTime { format: self, moment }
    }
}

/// A moment in one style.
#[derive(Clone, Copy, Debug)]
pub struct FormattedTime<'a> {
    format: &'a TimeFormat,
    moment: MonotonicNs,
}

impl fmt::Display for FormattedTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeFormat { style, clock, start, zone } = self.format;
        match style {
            TimeStyle::Local => {
                let wall = clock.at(self.moment);
                let local = zone.to_offset(wall).to_datetime(wall);
                let (hour, minute, second) = (local.hour(), local.minute(), local.second());
                write!(f, "{hour:02}:{minute:02}:{second:02}.{:03}", local.millisecond())
            }
            TimeStyle::Rfc3339 => {
                let wall = clock.at(self.moment);
                write!(f, "{:.6}", wall.display_with_offset(zone.to_offset(wall)))
            }
            TimeStyle::Relative => {
                let micros = self.moment.0.saturating_sub(start.0) / 1_000;
                write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
            }
            TimeStyle::None => Ok(()),
        }
    }
}
