//! Settings of `tcpstate states`.

use std::{ffi::OsString, num::NonZeroU64, time::Duration};

use tcpstate_core::{
    aggregate::states::{By, SocketFilter},
    model::{Comm, State},
};

use super::{
    color::wants_color,
    error::{MIN_INTERVAL, SettingsError},
    filter::{FilterError, comm, family_of_blocks},
    link::numbered,
};
use crate::{
    cli::{EndArgs, OutputFormat, SocketFilterArgs, StatesArgs},
    host::{Host, namespaces::OnlyNetns},
};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatesSettings {
    /// Groups to count besides.
    pub by: Option<By>,
    /// Which sockets to count.
    pub filter: SocketFilter,
    /// Where to look; `None` for everywhere.
    pub netns: Option<OnlyNetns>,
    /// Rows of each table shown at most.
    pub top: usize,
    /// Time between two reports; `None` for a single one.
    pub watch: Option<Duration>,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Stop after this many reports.
    pub count: Option<NonZeroU64>,
    /// Format of standard output.
    pub output: OutputFormat,
    /// Whether text output is coloured.
    pub color: bool,
}

impl StatesSettings {
    /// Checks the arguments against this host.
    ///
    /// # Errors
    ///
    /// When they name what does not exist, or cannot be done.
    pub fn new(args: &StatesArgs, host: &Host) -> Result<Self, SettingsError> {
        if let Some(watch) = args.watch.filter(|&watch| watch < MIN_INTERVAL) {
            return Err(SettingsError::Watch(watch));
        }
        let netns = args.filter.netns.as_deref().map(|given| OnlyNetns::new(given, host));
        Ok(Self {
            by: args.by.map(By::from),
            filter: filter(&args.filter, host)?,
            netns: netns.transpose()?,
            top: args.top as usize,
            watch: args.watch,
            duration: args.duration,
            count: args.count,
            output: args.output,
            color: wants_color(args.color, host),
        })
    }
}

fn filter(args: &SocketFilterArgs, host: &Host) -> Result<SocketFilter, SettingsError> {
    args.pid.iter().try_for_each(|&pid| host.find_process(pid))?;
    Ok(SocketFilter {
        cgroups: args.cgroup.as_deref().map(|path| host.cgroups_below(path)).transpose()?,
        states: args.state.iter().copied().map(State::Known).collect(),
        ..socket_filter(&args.pid, &args.comm, &args.ends, Some(host).filter(|_| args.netns.is_none()))?
    })
}

/// The filters that need no host to be understood, but for names of interfaces.
pub(super) fn socket_filter(
    pids: &[u32],
    comms: &[OsString],
    ends: &EndArgs,
    here: Option<&Host>,
) -> Result<SocketFilter, FilterError> {
    let (local_net, remote_net) = (numbered(ends.laddr.as_ref(), here)?, numbered(ends.raddr.as_ref(), here)?);
    Ok(SocketFilter {
        pids: pids.to_vec(),
        comms: comms.iter().map(|name| comm(name).map(Comm)).collect::<Result<_, _>>()?,
        local_ports: ends.lport.clone(),
        remote_ports: ends.rport.clone(),
        local_net,
        remote_net,
        family: family_of_blocks(ends.family(), [local_net, remote_net])?,
        ..SocketFilter::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tcpstate_common::state::TcpState;
    use tcpstate_core::model::Family;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(arguments: &str) -> Result<StatesSettings, String> {
        let arguments = ["tcpstate", "states"].into_iter().chain(arguments.split_whitespace());
        let Command::States(args) = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command else {
            return Err("another command".to_owned());
        };
        StatesSettings::new(&args, &Host::detect()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_for_one_look_everywhere() {
        let settings = settings("").expect("valid");
        assert_eq!((settings.by, settings.watch, settings.netns, settings.top), (None, None, None, 10));
        assert_eq!(settings.filter, SocketFilter::default());
    }

    #[test]
    fn filters_are_kept() {
        let settings =
            settings("--state close-wait,time-wait --lport 80,443 --raddr 10.0.0.0/8 -4 --comm nginx --by remote")
                .expect("valid");
        let filter = settings.filter;
        assert_eq!(filter.states, [TcpState::CloseWait, TcpState::TimeWait].map(State::Known));
        assert_eq!((filter.local_ports, filter.family), (vec![80, 443], Some(Family::Inet)));
        assert_eq!(filter.remote_net, "10.0.0.0/8".parse().ok());
        assert_eq!(filter.comms, [Comm(*b"nginx\0\0\0\0\0\0\0\0\0\0\0")]);
        assert_eq!(settings.by, Some(By::Remote));
    }

    #[test]
    fn a_path_of_a_namespace_is_kept_for_opening() {
        let own = settings("--netns /proc/self/ns/net").expect("our own").netns.expect("one");
        assert_eq!(own.path, Some(std::path::PathBuf::from("/proc/self/ns/net")));
        let by_number = settings(&format!("--netns {}", own.inode)).expect("a number").netns.expect("one");
        assert_eq!((by_number.inode, by_number.path), (own.inode, None));
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        for (arguments, words) in [
            ("--watch 10ms", "at least 100ms"),
            ("--duration 3s", "--watch"),
            ("--count 3", "--watch"),
            ("--pid 4194304", "no process `4194304`"),
            ("--netns no-such-name", "ip netns"),
            ("-4 --laddr ::1", "drop `-4`"),
            ("--by colour", "process, netns, cgroup, lport, remote"),
            ("--cgroup /proc", "cgroup"),
        ] {
            let refusal = settings(arguments).expect_err(arguments);
            assert!(refusal.contains(words), "{arguments}: {refusal}");
        }
    }
}
