//! Arguments of `tcpstate states`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint, value_parser};
use tcpstate_common::state::TcpState;
use tcpstate_core::aggregate::states::By;

use super::{
    filter::EndArgs,
    headings::{FILTERS, LIMITS, OUTPUT, REPORT},
    output::{ColorArgs, OutputFormat},
    parse::{count, duration, state},
};

const EXAMPLES: &str = "\
Examples:
  tcpstate states                        sockets per state, listeners, descriptors, ports in use
  tcpstate states --by process           which process has how many in which state
  tcpstate states --state close-wait --by remote
  tcpstate states --watch 2s             again every 2 s, with what changed
  tcpstate states --netns blue -o json | jq .states

States are those of `ss -tan`, TIME_WAIT and SYN_RECV included. Without privileges only one's own
network namespace and one's own processes can be seen; the report says what is missing.";

/// `tcpstate states`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StatesArgs {
    /// Also count the sockets of each process, network namespace, cgroup, local port or remote end.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = REPORT)]
    pub by: Option<ByArg>,

    /// Look again every so often and show what changed, such as every 2s.
    #[arg(long, value_name = "TIME", help_heading = REPORT, value_parser = duration)]
    pub watch: Option<Duration>,

    /// Show this many groups, listeners, processes and remote ends at most.
    #[arg(long, value_name = "N", help_heading = REPORT, default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000))]
    pub top: u32,

    /// With --watch: stop after this long, such as 30s or 5m.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", requires = "watch", value_parser = duration)]
    pub duration: Option<Duration>,

    /// With --watch: stop after this many reports.
    #[arg(long, help_heading = LIMITS, value_name = "N", requires = "watch", value_parser = count)]
    pub count: Option<std::num::NonZeroU64>,

    /// Which sockets to count.
    #[command(flatten)]
    pub filter: SocketFilterArgs,

    /// Text for people, or one JSON object a report, as documented by `states-v1.schema.json`.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = OUTPUT)]
    pub output: OutputFormat,

    /// Whether text is coloured.
    #[command(flatten)]
    pub color: ColorArgs,
}

/// Which sockets are counted.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = FILTERS)]
pub struct SocketFilterArgs {
    /// Only sockets that this process holds; repeat or separate with commas.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,

    /// Only sockets that a process of this name (`/proc/PID/comm`) holds; repeatable.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<OsString>,

    /// Only sockets of this cgroup v2 and those below it.
    ///
    /// A directory, or a path relative to the cgroup2 mount as in `/proc/PID/cgroup`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup: Option<PathBuf>,

    /// Only this network namespace.
    ///
    /// A name as in `ip netns`, a path such as `/proc/PID/ns/net`, or an inode number.
    #[arg(long, value_name = "NAME|PATH|INODE")]
    pub netns: Option<OsString>,

    /// Only sockets in this state, such as `close-wait`; repeat or separate with commas.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<TcpState>,

    /// Which ends of connections.
    #[command(flatten)]
    pub ends: EndArgs,
}

/// What sockets are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ByArg {
    /// The processes that hold them
    Process,
    /// Their network namespace
    Netns,
    /// Their cgroup v2
    Cgroup,
    /// Their local port; those that the kernel gave together
    Lport,
    /// Their remote end, without a port where it is the client
    Remote,
}

impl From<ByArg> for By {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::Process => Self::Process,
            ByArg::Netns => Self::Netns,
            ByArg::Cgroup => Self::Cgroup,
            ByArg::Lport => Self::Lport,
            ByArg::Remote => Self::Remote,
        }
    }
}
