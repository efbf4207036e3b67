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

use super::{
    color::wants_color, error::SettingsError, filter::Filter, hunt::weight, states::socket_filter, trace::check_traced,
};
use crate::{
    cli::{FilterArgs, LeaksFormat, Moment, ReportArgs, Show},
    host::Host,
    report::{clock::TimeStyle, folded::Weight},
};

/// Groups shown at most where nothing is said of it, as by `leaks` and `states`.
const TOP: u32 = 10;

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
        let output = args.output.output;
        if output.is_flame_graph() && args.show != Show::Leaks {
            return Err(SettingsError::FlameGraph);
        }
        let weight = weight(args.output)?;
        if args.by.is_some() && args.show != Show::States {
            return Err(SettingsError::By);
        }
        if args.top.is_some() && matches!(args.show, Show::Trace | Show::Summary) {
            return Err(SettingsError::Top);
        }
        match args.show {
            Show::Leaks if !args.state.is_empty() => return Err(SettingsError::State),
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
                ..socket_filter(pid, comm, ends, None)?
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
            output,
            weight,
            time: args.text.time,
            color: wants_color(args.text.color, host),
        })
    }
}
