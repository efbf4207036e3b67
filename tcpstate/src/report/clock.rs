//! The kernel's clock → times for people. The caller reads the clocks; here is only arithmetic.

use std::{
    fmt,
    io::{self, Write as _},
};

use jiff::{Timestamp, tz::TimeZone};
use tcpstate_core::model::MonotonicNs;

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

/// Writes moments in RFC 3339 with all nine digits, in UTC; a second's date only once.
#[derive(Clone, Debug)]
pub(super) struct Nanoseconds {
    clock: WallClock,
    /// The last second that was written, since the epoch.
    second: i64,
    /// It as text up to the point, empty before there was one.
    text: Vec<u8>,
}

impl Nanoseconds {
    pub(super) const fn new(clock: WallClock) -> Self {
        Self { clock, second: 0, text: Vec::new() }
    }

    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, moment: MonotonicNs) -> io::Result<()> {
        const SECOND: i64 = 1_000_000_000;
        let Some(ns) = i64::try_from(moment.0).ok().and_then(|ns| ns.checked_add(self.clock.offset_ns)) else {
            return write!(out, "{:.9}", self.clock.at(moment));
        };
        let second = ns.div_euclid(SECOND);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            // A whole second has a `Z` where the point comes.
            write!(self.text, "{:.0}", self.clock.at(moment))?;
            self.text.pop();
        }
        out.extend_from_slice(&self.text);
        let mut fraction = *b".000000000Z";
        write_digits(&mut fraction[1..10], ns.rem_euclid(SECOND));
        out.extend_from_slice(&fraction);
        Ok(())
    }
}

/// Writes the last digits of a number, as many as there is room for. Formatting with a width was a tenth of what a line of text
/// cost.
fn write_digits(room: &mut [u8], mut number: i64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
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
                let mut text = *b"00:00:00.000";
                write_digits(&mut text[0..2], local.hour().into());
                write_digits(&mut text[3..5], local.minute().into());
                write_digits(&mut text[6..8], local.second().into());
                write_digits(&mut text[9..12], local.millisecond().into());
                f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
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

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use tcpstate_core::model::MonotonicNs;

    use super::{TimeFormat, TimeStyle, WallClock};

    const CLOCK: WallClock = WallClock { offset_ns: 1_790_000_000_000_000_000 };

    fn show(style: TimeStyle, clock: WallClock, ns: u64) -> String {
        let zone = TimeZone::posix("<-0330>3:30<-0230>,M3.2.0,M11.1.0").expect("a POSIX zone");
        TimeFormat { style, clock, start: MonotonicNs(1_000_000_000), zone }.at(MonotonicNs(ns)).to_string()
    }

    #[test]
    fn wall_time_is_local_and_cut_off() {
        assert_eq!(show(TimeStyle::Local, CLOCK, 999_999_999), "11:43:20.999");
        assert_eq!(show(TimeStyle::Rfc3339, CLOCK, 999_999_999), "2026-09-21T11:43:20.999999-02:30");
    }

    #[test]
    fn the_offset_is_that_of_the_moment() {
        let hours = |hours: u64| hours * 3_600_000_000_000;
        // 2026-11-01T02:00 is 01:00 once more.
        assert_eq!(show(TimeStyle::Rfc3339, CLOCK, hours(974)), "2026-11-01T01:43:20.000000-02:30");
        assert_eq!(show(TimeStyle::Rfc3339, CLOCK, hours(975)), "2026-11-01T01:43:20.000000-03:30");
        assert_eq!(show(TimeStyle::Local, CLOCK, hours(975)), "01:43:20.000");
    }

    #[test]
    fn relative_time_begins_at_the_start() {
        assert_eq!(show(TimeStyle::Relative, CLOCK, 1_000_000_999), "0.000000");
        assert_eq!(show(TimeStyle::Relative, CLOCK, 1_234_567_890), "0.234567");
        assert_eq!(show(TimeStyle::Relative, CLOCK, 3_601_000_001_000), "3600.000001");
        assert_eq!(show(TimeStyle::Relative, CLOCK, 0), "0.000000");
    }

    #[test]
    fn no_moment_panics() {
        let extremes = [i64::MIN, -1, 0, i64::MAX];
        for offset_ns in extremes {
            for ns in [0, 1, u64::MAX] {
                let clock = WallClock { offset_ns };
                let wall = clock.at(MonotonicNs(ns)).as_nanosecond();
                assert_eq!(wall, i128::from(offset_ns) + i128::from(ns));
                for style in [TimeStyle::Local, TimeStyle::Rfc3339, TimeStyle::Relative] {
                    assert!(!show(style, clock, ns).is_empty());
                }
                assert_eq!(show(TimeStyle::None, clock, ns), "");
            }
        }
    }

    #[test]
    fn nanoseconds_are_those_of_the_library() {
        let moments = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, 999_999_999, 1 << 62, u64::MAX, 5];
        for offset_ns in [CLOCK.offset_ns, 0, -1, -1_000_000_000, -86_400_000_000_001, i64::MIN, i64::MAX] {
            let clock = WallClock { offset_ns };
            let mut nanoseconds = super::Nanoseconds::new(clock);
            for moment in moments.map(MonotonicNs) {
                let mut out = Vec::new();
                nanoseconds.write(&mut out, moment).expect("a Vec takes it");
                assert_eq!(String::from_utf8_lossy(&out), format!("{:.9}", clock.at(moment)), "{moment:?} {offset_ns}");
            }
        }
    }

    #[test]
    fn the_clocks_differ_by_the_offset() {
        let at = CLOCK.at(MonotonicNs(5));
        assert_eq!(Ok(at), Timestamp::from_nanosecond(1_790_000_000_000_000_005).map_err(|error| error.to_string()));
    }
}
