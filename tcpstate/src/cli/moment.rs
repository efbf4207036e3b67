//! Times on the command line of `tcpstate report`.

use std::time::Duration;

use jiff::{Timestamp, civil, tz::TimeZone};
use thiserror::Error;

use super::parse::duration;

/// A time nobody can read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("give a time such as 2026-11-22T03:10:00Z, 03:10, 03:10:00.5 or, from the start, +90s")]
pub(super) struct MomentError;

/// A time on the command line, before the recording's clock is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A date and time.
    At(Timestamp),
    /// A time of day in the recording's zone: the first after it began.
    Clock(civil::Time),
    /// So long after the start.
    After(Duration),
}

/// Reads a time.
///
/// # Errors
///
/// When it is none.
pub(super) fn moment(text: &str) -> Result<Moment, MomentError> {
    if let Some(after) = text.strip_prefix('+') {
        return duration(after).map(Moment::After).map_err(|_| MomentError);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Moment::At(timestamp));
    }
    // `2026-11-22` alone, or a time without a zone on some day, would have to be guessed at.
    let is_clock = text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(':') && !text.contains('-');
    let clock = text.parse::<civil::Time>().ok().filter(|_| is_clock);
    clock.map(Moment::Clock).ok_or(MomentError)
}

impl Moment {
    /// The wall time that is meant in a recording that began then and there.
    #[must_use]
    pub fn resolve(self, start: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::After(duration) => start.checked_add(duration).unwrap_or(Timestamp::MAX),
            Self::Clock(time) => {
                let began = zone.to_datetime(start);
                let on = |date: civil::Date| zone.to_timestamp(date.to_datetime(time)).ok();
                // `03:10` of a recording that began at 03:10:42 is that minute.
                let slack = jiff::SignedDuration::from_mins(1);
                let today = on(began.date()).filter(|today| today.checked_add(slack).is_ok_and(|end| end > start));
                today.or_else(|| on(began.date().tomorrow().ok()?)).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_recordings_day_and_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let start: Timestamp = "2026-11-22T21:30:20Z".parse().expect("a time");
        let resolved = |text| moment(text).map(|moment| moment.resolve(start, &zone).to_string());
        assert_eq!(resolved("2026-11-22T23:00:00Z").as_deref(), Ok("2026-11-22T23:00:00Z"));
        assert_eq!(resolved("23:45").as_deref(), Ok("2026-11-22T21:45:00Z"));
        assert_eq!(resolved("23:30").as_deref(), Ok("2026-11-22T21:30:00Z"));
        assert_eq!(resolved("00:10:00.5").as_deref(), Ok("2026-11-22T22:10:00.5Z"));
        assert_eq!(resolved("23:00").as_deref(), Ok("2026-11-23T21:00:00Z"));
        assert_eq!(resolved("+90s").as_deref(), Ok("2026-11-22T21:31:50Z"));
        for bad in ["", "yesterday", "2026-11-22", "25:00", "+", "12", "-3s"] {
            assert_eq!(moment(bad), Err(MomentError), "{bad}");
        }
    }
}
