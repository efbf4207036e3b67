//! Settings of `tcpstate report`.

use std::{path::PathBuf, time::Duration};

use jiff::{Timestamp, civil, tz::TimeZone};
use tcpstate_common::{config, state::TcpState};
use thiserror::Error;

use super::{
    SettingsError, check_traced, filter::Filter, host::Host, parse::duration, states::socket_filter, wants_color,
};
use crate::{
    aggregate::states::{By, SocketFilter},
    cli::{
        FilterArgs, LeaksFormat,
        record::{ReportArgs, Show},
    },
    model::State,
    recording::wanted::Wanted,
    report::{clock::TimeStyle, folded::Weight},
};

/// Groups shown at most where nothing is said of it, as by `leaks` and `states`.
const TOP: u32 = 10;

/// Why the settings cannot be worked with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReplayError {
    /// An output that only leaks have.
    #[error("a flame graph is of leaks: leave out `--show`")]
    FlameGraph,
    /// Widths of what has none.
    #[error("`--weight` is about flame graphs: add `-o svg` or `-o folded`")]
    Weight,
    /// A filter that only transitions have.
    #[error("`--state` is about transitions or counts: add `--show trace` or `--show states`")]
    State,
    /// Groups of what is not counted.
    #[error("`--by` is about counts of sockets: add `--show states`")]
    By,
    /// A number of groups where none are shown.
    #[error("`--top` is about groups of leaks or counts, not about transitions: leave it out")]
    Top,
    /// A moment nobody can read.
    #[error("give a time such as 2026-11-22T03:10:00Z, 03:10, 03:10:00.5 or, from the start, +90s")]
    Moment,
    /// A range without anything in it.
    #[error("`--to` is before `--from`: nothing is between them")]
    Range,
}

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
pub fn moment(text: &str) -> Result<Moment, ReplayError> {
    if let Some(after) = text.strip_prefix('+') {
        return duration(after).map(Moment::After).map_err(|_| ReplayError::Moment);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Moment::At(timestamp));
    }
    // `2026-11-22` alone, or a time without a zone on some day, would have to be guessed at.
    let is_clock = text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(':') && !text.contains('-');
    let clock = text.parse::<civil::Time>().ok().filter(|_| is_clock);
    clock.map(Moment::Clock).ok_or(ReplayError::Moment)
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

/// What `--show states` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatesView {
    /// Groups to count besides.
    pub by: Option<By>,
    /// Which sockets; cgroups and descendants of processes are known from the recording.
    pub filter: SocketFilter,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct ReplaySettings {
    /// The recording.
    pub file: PathBuf,
    /// What to show of it.
    pub show: Show,
    /// From when on.
    pub from: Option<Moment>,
    /// Until when.
    pub to: Option<Moment>,
    /// Only sockets that have been in CLOSE_WAIT for this long.
    pub older_than: Duration,
    /// Groups shown at most.
    pub top: usize,
    /// Which sockets.
    pub wanted: Wanted,
    /// Which sockets are counted, and by what, but for what only the recording tells.
    pub states: StatesView,
    /// Format of standard output.
    pub output: LeaksFormat,
    /// What a flame graph weighs.
    pub weight: Weight,
    /// How text output shows the time.
    pub time: TimeStyle,
    /// Whether text output is coloured.
    pub color: bool,
}

impl ReplaySettings {
    /// Checks the arguments; of this host only whether its terminal has colours.
    ///
    /// # Errors
    ///
    /// When they could never match, or contradict each other.
    pub fn new(args: &ReportArgs, host: &Host) -> Result<Self, SettingsError> {
        let flame = matches!(args.output, LeaksFormat::Folded | LeaksFormat::Svg);
        if flame && args.show != Show::Leaks {
            return Err(ReplayError::FlameGraph.into());
        }
        if args.weight.is_some() && !flame {
            return Err(ReplayError::Weight.into());
        }
        if args.by.is_some() && args.show != Show::States {
            return Err(ReplayError::By.into());
        }
        if args.top.is_some() && matches!(args.show, Show::Trace | Show::Summary) {
            return Err(ReplayError::Top.into());
        }
        match args.show {
            Show::Leaks if !args.state.is_empty() => return Err(ReplayError::State.into()),
            Show::Leaks | Show::States => {}
            Show::Trace | Show::Summary => args.state.iter().try_for_each(|&state| check_traced(state))?,
        }
        let filter = Filter::elsewhere(&args.filter)?;
        let mut config = filter.to_config(0);
        if !args.state.is_empty() {
            config.filters |= config::filter::STATE;
            config.states = args.state.iter().fold(0, |mask, state: &TcpState| mask | state.bit());
        }
        let FilterArgs { pid, comm, ends, .. } = &args.filter;
        let states = StatesView {
            by: args.by,
            filter: SocketFilter {
                states: args.state.iter().copied().map(State::Known).collect(),
                ..socket_filter(pid, comm, ends)?
            },
        };
        let wanted = Wanted::new(config, filter.pids(), args.filter.cgroup.as_deref(), args.filter.netns.as_deref());
        Ok(Self {
            file: args.file.clone(),
            show: args.show,
            from: args.from,
            to: args.to,
            older_than: args.older_than,
            top: args.top.unwrap_or(TOP) as usize,
            wanted,
            states,
            output: args.output,
            weight: args.weight.unwrap_or_default(),
            time: args.time,
            color: wants_color(args.color, host),
        })
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
            assert_eq!(moment(bad), Err(ReplayError::Moment), "{bad}");
        }
    }
}
