//! Times on the command line of `tcpstate report`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use thiserror::Error;

use super::parse::duration;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A time nobody can read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("give a time such as 2026-11-22T03:10:00Z, 03:10, 03:10:00.5 or, from the start, +90s")]
pub(super) struct MomentError;

/// A time on the command line, before the recording's clock is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A date and time.
    At(Timestamp),
    /// A time of day in the recording's zone.
    Clock(civil::Time),
    /// A minute of the day in the recording's zone.
    Minute(civil::Time),
    /// So long after the start.
    After(Duration),
}

/// What is known of a recording's own time.
#[derive(Clone, Debug)]
pub struct RecordedTime {
    /// When it begins.
    pub began: Timestamp,
    /// When it ends, where that is known before it is read.
    pub ended: Option<Timestamp>,
    /// The zone it was made in.
    pub zone: TimeZone,
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
    let time = text.parse::<civil::Time>().ok().filter(|_| is_clock).ok_or(MomentError)?;
    let to_the_minute = text.matches(':').count() == 1;
    Ok(if to_the_minute { Moment::Minute(time) } else { Moment::Clock(time) })
}

impl Moment {
    /// Whether it takes the end of a recording to know what is meant: a time of day that was over as it began is the next day's in one
    /// that lasts so long.
    #[must_use]
    pub fn needs_end(self, recorded: &RecordedTime) -> bool {
        self.time_of_day().is_some_and(|time| recorded.on_first_day(time).is_none())
    }

    /// Where a range begins that begins with this.
    #[must_use]
    pub fn begin(self, recorded: &RecordedTime) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::After(duration) => recorded.began.checked_add(duration).unwrap_or(Timestamp::MAX),
            Self::Clock(time) | Self::Minute(time) => recorded.resolve(time),
        }
    }

    /// Where a range ends that ends with this. Of the minute that a recording begins in there is only the end.
    #[must_use]
    pub fn end(self, recorded: &RecordedTime) -> Timestamp {
        let begin = self.begin(recorded);
        let end_of_minute = begin.checked_add(MINUTE).unwrap_or(begin);
        let is_in_it = matches!(self, Self::Minute(_)) && begin < recorded.began && recorded.began < end_of_minute;
        if is_in_it { end_of_minute } else { begin }
    }

    fn time_of_day(self) -> Option<civil::Time> {
        match self {
            Self::Clock(time) | Self::Minute(time) => Some(time),
            Self::At(_) | Self::After(_) => None,
        }
    }
}

impl RecordedTime {
    /// The first such time of day in the recording; where there is none, the one before it.
    fn resolve(&self, time: civil::Time) -> Timestamp {
        if let Some(first) = self.on_first_day(time) {
            return first;
        }
        let date = self.zone.to_datetime(self.began).date();
        let tomorrow = date.tomorrow().ok().and_then(|tomorrow| self.on(tomorrow, time));
        match (self.on(date, time), tomorrow) {
            (Some(today), Some(tomorrow)) if self.ended.is_some_and(|ended| ended < tomorrow) => today,
            (_, tomorrow) => tomorrow.unwrap_or(Timestamp::MAX),
        }
    }

    /// On the day of the start, if that is after it, or within the minute that it was in.
    fn on_first_day(&self, time: civil::Time) -> Option<Timestamp> {
        let today = self.on(self.zone.to_datetime(self.began).date(), time)?;
        today.checked_add(MINUTE).is_ok_and(|end| end > self.began).then_some(today)
    }

    fn on(&self, date: civil::Date, time: civil::Time) -> Option<Timestamp> {
        self.zone.to_timestamp(date.to_datetime(time)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(ended: Option<&str>) -> RecordedTime {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        RecordedTime {
            began: time("2026-11-22T21:30:20Z"),
            ended: ended.map(time),
            zone: TimeZone::fixed(jiff::tz::offset(2)),
        }
    }

    #[test]
    fn times_are_of_the_recordings_day_and_zone() {
        let resolved = |text| moment(text).map(|moment| moment.begin(&recorded(None)).to_string());
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

    #[test]
    fn a_time_before_the_start_is_the_next_days_only_if_that_was_recorded() {
        let begin = |text, ended| moment(text).expect("a time").begin(&recorded(Some(ended))).to_string();
        assert_eq!(begin("23:00", "2026-11-22T21:45:00Z"), "2026-11-22T21:00:00Z");
        assert_eq!(begin("23:29", "2026-11-22T21:45:00Z"), "2026-11-22T21:29:00Z");
        assert_eq!(begin("23:29:59", "2026-11-22T21:45:00Z"), "2026-11-22T21:29:59Z");
        assert_eq!(begin("03:10", "2026-11-23T06:00:00Z"), "2026-11-23T01:10:00Z");
        assert_eq!(begin("23:50", "2026-11-22T21:45:00Z"), "2026-11-22T21:50:00Z", "not the evening before");
        let needs_end = |text| moment(text).expect("a time").needs_end(&recorded(None));
        assert!(needs_end("23:00") && !needs_end("23:30") && !needs_end("23:31") && !needs_end("+1s"));
    }

    #[test]
    fn the_first_minute_ends_as_others_do() {
        let end = |text| moment(text).expect("a time").end(&recorded(Some("2026-11-22T22:00:00Z"))).to_string();
        assert_eq!(end("23:30"), "2026-11-22T21:31:00Z");
        assert_eq!(end("23:31"), "2026-11-22T21:31:00Z");
        assert_eq!(end("23:30:00"), "2026-11-22T21:30:00Z", "that moment, which was not recorded");
    }
}
