//! Arguments of `tcpstate record` and `tcpstate report`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Arg, Args, ColorChoice, ValueEnum, ValueHint};
use tcpstate_common::state::TcpState;

use super::{AgeArgs, FilterArgs, HuntArgs, LIMITS, LeaksFormat, REPORT, hunt, states::ByArg};
use crate::{
    cli::moment::{Moment, moment},
    cli::parse::{byte_count, duration, state},
    report::{clock::TimeStyle, folded::Weight},
};

const RECORD_EXAMPLES: &str = "\
Examples:
  tcpstate record -o night.tcps                    everything, until Ctrl-C
  tcpstate record -o night.tcps --duration 8h --max-size 1G --max-files 4
  tcpstate record -o nginx.tcps --cgroup system.slice/nginx.service
  tcpstate report night.tcps                       the leaks at the end; needs no root

After a crash or on a full disk everything up to the last second or so can be read.";

/// `tcpstate record`.
#[derive(Args, Debug)]
#[command(after_help = RECORD_EXAMPLES, mut_args(hunt::buffer("16M")), mut_args(hunt::older_than(late_close)))]
pub struct RecordArgs {
    /// The file to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub output: PathBuf,

    /// Write over a file that exists.
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,

    /// Go on in another file when this one has so many bytes; FILE becomes FILE.1, FILE.1 becomes FILE.2.
    ///
    /// Each of them can be read by itself. K, M and G are powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = byte_count, help_heading = "Output")]
    pub max_size: Option<u64>,

    /// With --max-size: keep so many files, the one being written included.
    #[arg(long, value_name = "N", requires = "max_size", help_heading = "Output")]
    pub max_files: Option<NonZeroU32>,

    /// What to record: what is rejected here is in no report.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Time between two looks at leaking sockets, their processes and threads.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub interval: Duration,

    /// Time between two looks at all sockets, as `states` makes them; they are rarer where they are dear.
    ///
    /// Looks take at most 2 % of the time and, on average, 16 KiB a second of the file.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub states_interval: Duration,

    /// Do not look at all sockets: `report --show states` will have nothing to show.
    #[arg(long, help_heading = LIMITS, conflicts_with = "states_interval")]
    pub no_states: bool,

    /// How late a close is one to take the stack of.
    #[command(flatten)]
    pub age: AgeArgs,

    /// Stop after this long, such as 30s or 8h.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// What the hunt may take.
    #[command(flatten)]
    pub hunt: HuntArgs,

    /// With each stack also take what the kernel was doing there.
    #[arg(long, help_heading = LIMITS)]
    pub kernel_stack: bool,
}

/// What `--older-than` is for a recording, which has all sockets.
fn late_close(older_than: Arg) -> Arg {
    older_than.help("Take stacks of closes that come so long after the peer's").help_heading(LIMITS)
}

const REPORT_EXAMPLES: &str = "\
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
#[command(after_help = REPORT_EXAMPLES)]
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
    #[arg(long, help_heading = REPORT, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub top: Option<u32>,

    /// What to show: the filters of `leaks`, `trace` and `states`, with the names of the recorded host.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// With --show states: also count the sockets of each process, network namespace, cgroup, local port or remote end.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = REPORT)]
    pub by: Option<ByArg>,

    /// With --show trace: only transitions out of or into this state; with --show states: only sockets in it.
    #[arg(long, help_heading = "Filters", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<TcpState>,

    /// Text for people, JSON as of `leaks`, `trace` or `states`, or the stacks of leaks as a flame graph.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Output")]
    pub output: LeaksFormat,

    /// What the widths of a flame graph stand for [default: seconds].
    #[arg(long, value_enum, value_name = "UNIT", help_heading = "Output")]
    pub weight: Option<Weight>,

    /// How text output shows the time; JSON always carries both clocks.
    #[arg(long, value_enum, value_name = "STYLE", default_value_t, help_heading = "Output")]
    pub time: TimeStyle,

    /// Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto, help_heading = "Output")]
    pub color: ColorChoice,
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
