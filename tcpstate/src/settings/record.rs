//! Settings of `tcpstate record`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tcpstate_core::aggregate::states::SocketFilter;
use tcpstate_recording::Rotation;

use super::{
    error::SettingsError,
    filter::Filter,
    hunt::{HuntSettings, check_interval},
    states::socket_filter,
};
use crate::{
    cli::{EndArgs, FilterArgs, RecordArgs},
    host::{Host, namespaces::OnlyNetns},
};

/// The censuses that a recording keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CensusSettings {
    /// Time between two of them, where they are cheap.
    pub every: Duration,
    /// Which sockets are kept; of processes, those that hold them.
    pub filter: SocketFilter,
    /// Whether descendants of the filter's processes are meant, too.
    pub children: bool,
    /// The cgroup that is meant, with those below it.
    pub cgroup: Option<PathBuf>,
    /// Where to look; `None` for everywhere.
    pub netns: Option<OnlyNetns>,
}

impl CensusSettings {
    fn new(args: &RecordArgs, host: &Host) -> Result<Option<Self>, SettingsError> {
        if args.no_states {
            return Ok(None);
        }
        let FilterArgs { pid, children, comm, cgroup, netns, ends } = &args.filter;
        Ok(Some(Self {
            every: args.states_interval,
            filter: socket_filter(pid, comm, ends, Some(host).filter(|_| netns.is_none()))?,
            children: *children,
            cgroup: cgroup.clone(),
            netns: netns.as_deref().map(|given| OnlyNetns::new(given, host)).transpose()?,
        }))
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// The file.
    pub path: PathBuf,
    /// Whether it may exist.
    pub overwrite: bool,
    /// When to begin another file.
    pub rotation: Option<Rotation>,
    /// The hunt, which is told of all transitions.
    pub hunt: HuntSettings,
    /// What to record, as it was given.
    pub filters: Vec<String>,
    /// Time between two checkpoints.
    pub interval: Duration,
    /// The censuses; `None` for none.
    pub census: Option<CensusSettings>,
    /// Stop after this long.
    pub duration: Option<Duration>,
}

impl RecordSettings {
    /// Checks the arguments against this host.
    ///
    /// # Errors
    ///
    /// When they name what does not exist, or cannot be done.
    pub fn new(args: &RecordArgs, host: &Host) -> Result<Self, SettingsError> {
        if args.output == Path::new("-") {
            return Err(SettingsError::StandardOutput);
        }
        check_interval(args.interval)?;
        check_interval(args.states_interval)?;
        let hunt = HuntSettings::new(args.age, args.hunt, host)?;
        let rotation = args
            .max_size
            .map(|max_size| Rotation { max_size, max_files: args.max_files.map(std::num::NonZeroU32::get) });
        Ok(Self {
            path: args.output.clone(),
            overwrite: args.overwrite,
            rotation,
            hunt: HuntSettings {
                filter: Filter::new(&args.filter, host)?,
                transitions: true,
                kernel_stack: args.kernel_stack,
                ..hunt
            },
            filters: described(&args.filter),
            interval: args.interval,
            census: CensusSettings::new(args, host)?,
            duration: args.duration,
        })
    }
}

/// Filters as on the command line, for those who read the recording.
fn described(args: &FilterArgs) -> Vec<String> {
    let FilterArgs { pid, children, comm, cgroup, netns, ends } = args;
    let EndArgs { lport, rport, laddr, raddr, ipv4, ipv6 } = ends;
    let mut words = Vec::new();
    words.extend(pid.iter().map(|pid| format!("--pid {pid}")));
    words.extend(children.then(|| "--children".to_owned()));
    words.extend(comm.iter().map(|comm| format!("--comm {}", comm.display())));
    words.extend(cgroup.iter().map(|path| format!("--cgroup {}", path.display())));
    words.extend(netns.iter().map(|netns| format!("--netns {}", netns.display())));
    words.extend(lport.iter().map(|port| format!("--lport {port}")));
    words.extend(rport.iter().map(|port| format!("--rport {port}")));
    words.extend(laddr.iter().map(|net| format!("--laddr {net}")));
    words.extend(raddr.iter().map(|net| format!("--raddr {net}")));
    words.extend(ipv4.then(|| "-4".to_owned()));
    words.extend(ipv6.then(|| "-6".to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn a_dash_is_no_file() {
        let settings = |output| {
            let cli = Cli::try_parse_from(["tcpstate", "record", "-o", output]).expect("arguments");
            let Command::Record(args) = cli.command else { panic!("another command") };
            RecordSettings::new(&args, &Host::detect()).map(|settings| settings.path).map_err(|error| error.to_string())
        };
        let error = settings("-").expect_err("standard output");
        assert!(
            error.starts_with("a recording is not written to standard output") && error.contains("`-o ./-`"),
            "{error}"
        );
        assert_eq!(settings("./-"), Ok(PathBuf::from("./-")));
    }
}
