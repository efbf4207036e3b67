//! Settings of `tcpstate report`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use tcpstate_common::{
    config::{Config, filter},
    state::TcpState,
};
use tcpstate_core::{
    aggregate::states::{By, SocketFilter},
    model::State,
};
use thiserror::Error;

use super::{SettingsError, check_traced, filter::Filter, states::socket_filter, wants_color};
use crate::{
    cli::{
        FilterArgs, LeaksFormat,
        moment::Moment,
        record::{ReportArgs, Show},
    },
    host::Host,
    report::{clock::TimeStyle, folded::Weight},
};

/// Groups shown at most where nothing is said of it, as by `leaks` and `states`.
const TOP: u32 = 10;

/// Why the settings cannot be worked with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReportError {
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
    /// A range without anything in it.
    #[error("`--to` is before `--from`: nothing is between them")]
    Range,
}

/// What `--show states` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatesView {
    /// Groups to count besides.
    pub by: Option<By>,
    /// Which sockets; cgroups and descendants of processes are known from the recording.
    pub filter: SocketFilter,
}

/// Filters that the recording decides on: what names mean is known from it.
#[derive(Clone, Debug)]
pub struct RecordedFilter {
    /// As the kernel side would get them.
    pub config: Config,
    /// Processes, as given.
    pub pids: Vec<u32>,
    /// A cgroup and those below it.
    pub cgroup: Option<PathBuf>,
    /// A network namespace, by name or number.
    pub netns: Option<OsString>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct ReportSettings {
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
    pub filter: RecordedFilter,
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

impl ReportSettings {
    /// Checks the arguments; of this host only whether its terminal has colours.
    ///
    /// # Errors
    ///
    /// When they could never match, or contradict each other.
    pub fn new(args: &ReportArgs, host: &Host) -> Result<Self, SettingsError> {
        let flame = matches!(args.output, LeaksFormat::Folded | LeaksFormat::Svg);
        if flame && args.show != Show::Leaks {
            return Err(ReportError::FlameGraph.into());
        }
        if args.weight.is_some() && !flame {
            return Err(ReportError::Weight.into());
        }
        if args.by.is_some() && args.show != Show::States {
            return Err(ReportError::By.into());
        }
        if args.top.is_some() && matches!(args.show, Show::Trace | Show::Summary) {
            return Err(ReportError::Top.into());
        }
        match args.show {
            Show::Leaks if !args.state.is_empty() => return Err(ReportError::State.into()),
            Show::Leaks | Show::States => {}
            Show::Trace | Show::Summary => args.state.iter().try_for_each(|&state| check_traced(state))?,
        }
        let filter = Filter::elsewhere(&args.filter)?;
        let mut config = filter.to_config(0);
        if !args.state.is_empty() {
            config.filters |= filter::STATE;
            config.states = args.state.iter().fold(0, |mask, state: &TcpState| mask | state.bit());
        }
        let FilterArgs { pid, comm, ends, .. } = &args.filter;
        let states = StatesView {
            by: args.by.map(By::from),
            filter: SocketFilter {
                states: args.state.iter().copied().map(State::Known).collect(),
                ..socket_filter(pid, comm, ends)?
            },
        };
        let filter = RecordedFilter {
            config,
            pids: filter.pids().to_vec(),
            cgroup: args.filter.cgroup.clone(),
            netns: args.filter.netns.clone(),
        };
        Ok(Self {
            file: args.file.clone(),
            show: args.show,
            from: args.from,
            to: args.to,
            older_than: args.age.older_than,
            top: args.top.unwrap_or(TOP) as usize,
            filter,
            states,
            output: args.output,
            weight: args.weight.unwrap_or_default(),
            time: args.time,
            color: wants_color(args.color, host),
        })
    }
}
