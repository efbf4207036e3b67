//! Arguments of `tcpstate report`.

use std::path::PathBuf;

use clap::{Arg, Args, ValueEnum, ValueHint, value_parser};
use tcpstate_common::state::TcpState;

use super::{
    change::change,
    filter::FilterArgs,
    headings::{FILTERS, REPORT},
    hunt::AgeArgs,
    moment::{Moment, moment},
    output::{LeaksOutputArgs, TextArgs},
    parse::state,
    states::ByArg,
};

const EXAMPLES: &str = "\
Examples:
  tcpstate report night.tcps                       the leaks at the end of the recording
  tcpstate report night.tcps --to 03:15            the leaks as they stood at 3:15
  tcpstate report night.tcps -o svg > leaks.svg
  tcpstate report night.tcps --show trace --state close-wait --from 03:10 --to 03:15
  tcpstate report night.tcps --show trace --lport 443 -o json > transitions.jsonl
  tcpstate report night.tcps --show states --to 03:15 --by process

Times are those of the recording's own clock and zone. No root and no BTF is needed, and any
machine will do.";

/// `tcpstate report`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args(change("output", of_anything)))]
pub struct ReportArgs {
    /// A file that `tcpstate record` has written.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// What to show of it.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, help_heading = REPORT)]
    pub show: Show,

    /// Only what began at this time or later: 2026-11-22T03:10:00Z, 03:10, 03:10:00.5, or +90s from the start.
    ///
    /// With --show states: each count from then on, with what changed since the one before.
    #[arg(long, value_name = "WHEN", value_parser = moment, help_heading = REPORT)]
    pub from: Option<Moment>,

    /// Only what happened until this time; leaks as they stood then, the last count of sockets before.
    #[arg(long, value_name = "WHEN", value_parser = moment, help_heading = REPORT)]
    pub to: Option<Moment>,

    /// From when on they count.
    #[command(flatten)]
    pub age: AgeArgs,

    /// Show this many groups of sockets at most, of leaks or counts [default: 10].
    #[arg(long, help_heading = REPORT, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub top: Option<u32>,

    /// What to show: the filters of `leaks`, `trace` and `states`, with the names of the recorded host.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// With --show states: also count the sockets of each process, network namespace, cgroup, local port or remote end.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = REPORT)]
    pub by: Option<ByArg>,

    /// With --show trace: only transitions out of or into this state; with --show states: only sockets in it.
    #[arg(long, help_heading = FILTERS, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<TcpState>,

    /// How to write it.
    #[command(flatten)]
    pub output: LeaksOutputArgs,

    /// How text is written.
    #[command(flatten)]
    pub text: TextArgs,
}

/// `--output`, of what is not leaks alone.
fn of_anything(output: Arg) -> Arg {
    output.help("Text for people, JSON as of `leaks`, `trace` or `states`, or the stacks of leaks as a flame graph")
}

/// What to show of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// How leaks stood at one moment, as `tcpstate leaks` shows them.
    #[default]
    Leaks,
    /// Every transition, as `tcpstate trace` shows them.
    Trace,
    /// How many transitions there were, and the time in each state: the end of `trace` alone.
    Summary,
    /// Sockets in each state, as `tcpstate states` counts them.
    States,
}
