//! The command line as clap sees it; `settings` makes sense of it.

mod doctor;
mod filter;
mod hunt;
pub mod moment;
pub mod parse;
pub mod record;
pub mod run;
mod shell;
mod states;

use std::{num::NonZeroU64, time::Duration};

use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand, ValueEnum, builder::PossibleValue, value_parser};
use tcpstate_common::state::TcpState;

use self::run::RunArgs;
pub(crate) use self::shell::EXIT_CODES_HEADING;
pub use self::{
    doctor::DoctorArgs,
    filter::{EndArgs, FilterArgs},
    hunt::{AgeArgs, HuntArgs},
    shell::{CompletionsArgs, EXIT_CODES, ManArgs},
    states::{SocketFilterArgs, StatesArgs},
};

use crate::{
    cli::parse::{byte_count, count, duration, state},
    report::{clock::TimeStyle, folded::Weight},
};

/// Traces TCP state transitions and names the code that leaks `CLOSE_WAIT` sockets.
#[derive(Debug, Parser)]
#[command(name = "tcpstate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = shell::after_help())]
pub struct Cli {
    /// Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every TCP state transition as it happens, with the process that opened the socket.
    Trace(TraceArgs),
    /// Name the code that leaves sockets in CLOSE_WAIT, and the reason.
    Leaks(LeaksArgs),
    /// Keep what `leaks`, `trace` and `states` would show in a file.
    Record(record::RecordArgs),
    /// Show what was recorded; needs no root, and can be done elsewhere.
    Report(Box<record::ReportArgs>),
    /// Show which hooks this kernel allows, why not the others, and what is lost without them.
    Probes(ProbesArgs),
    /// Say what is wrong with sockets now, what this kernel allows, and what the TCP settings really do.
    Doctor(DoctorArgs),
    /// Count the sockets in each state, whose they are, and what they use up.
    States(StatesArgs),
    /// Write a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages.
    Man(ManArgs),
    /// Run a command, and fail if it or what it starts leaves sockets in CLOSE_WAIT.
    Run(RunArgs),
}

impl Command {
    /// Whether text is to be coloured.
    #[must_use]
    pub fn color(&self) -> ColorChoice {
        match self {
            Self::Trace(args) => args.output.color,
            Self::Leaks(args) => args.color,
            Self::Report(args) => args.color,
            Self::Doctor(args) => args.color,
            Self::States(args) => args.color,
            Self::Run(args) => args.color,
            Self::Record(_) | Self::Probes(_) | Self::Completions(_) | Self::Man(_) => ColorChoice::Auto,
        }
    }
}

const LIMITS: &str = "Limits";
/// Heading of the options that say what a report shows, and when.
const REPORT: &str = "Report";

const TRACE_EXAMPLES: &str = "\
Examples:
  tcpstate trace --pid 4242              the sockets that process 4242 opened or accepted
  tcpstate trace --pid 4242 --children   also those of its descendants, now and later
  tcpstate trace --state close-wait      every socket that enters or leaves CLOSE_WAIT
  tcpstate trace --rport 5432,6432 --raddr 10.0.0.0/8
  tcpstate trace --cgroup system.slice/nginx.service
  tcpstate trace --netns blue --duration 30s -o json > transitions.jsonl

A filter given more than once matches any of its values; different filters must all match.
The process is the one that opened the socket: the peer's FIN is shown under the pid that has
to close, not under the pid that happened to run when the packet came.";

/// `tcpstate trace`.
#[derive(Args, Debug)]
#[command(after_help = TRACE_EXAMPLES)]
pub struct TraceArgs {
    /// Which transitions to show.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Only transitions out of or into this state, such as `close-wait`; repeat or separate with commas.
    #[arg(long, help_heading = "Filters", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<TcpState>,

    /// How to write them.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Ring buffer between kernel and tcpstate; K, M and G are powers of 1024.
    ///
    /// Rounded up to a power of two of at least one page.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "8M", value_parser = byte_count)]
    pub buffer: u64,

    /// Stop after this long, such as 500ms, 30s, 5m or 1h30m.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Stop after this many transitions.
    #[arg(long, help_heading = LIMITS, value_name = "N", value_parser = count)]
    pub count: Option<NonZeroU64>,
}

const LEAKS_EXAMPLES: &str = "\
Examples:
  tcpstate leaks                         every process that leaves sockets in CLOSE_WAIT, every 2 s
  tcpstate leaks --once                  how things stand now, then end
  tcpstate leaks --pid 4242 --older-than 10s
  tcpstate leaks --duration 60s -o svg > leaks.svg
  tcpstate leaks --interval 10s -o json > leaks.jsonl

Stacks are taken while sockets are opened, so those of sockets that were open before are
`before the trace` until the same code leaks again.";

/// `tcpstate leaks`.
#[derive(Args, Debug)]
#[command(after_help = LEAKS_EXAMPLES)]
pub struct LeaksArgs {
    /// Which sockets to look at.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// From when on they count.
    #[command(flatten)]
    pub age: AgeArgs,

    /// Time between two reports.
    #[arg(long, help_heading = REPORT, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub interval: Duration,

    /// Show this many groups of sockets at most.
    #[arg(long, help_heading = REPORT, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000))]
    pub top: u32,

    /// Look once and end, without waiting for events.
    #[arg(long, help_heading = REPORT, conflicts_with_all = ["duration", "interval"])]
    pub once: bool,

    /// Stop after this long, such as 30s or 5m.
    #[arg(long, help_heading = LIMITS, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// What the hunt may take.
    #[command(flatten)]
    pub hunt: HuntArgs,

    /// With each stack also show what the kernel was doing there.
    #[arg(long, help_heading = "Output")]
    pub kernel_stack: bool,

    /// Text for people, one JSON object a report, or the stacks of the last report as a flame graph.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Output")]
    pub output: LeaksFormat,

    /// What the widths of a flame graph stand for [default: seconds].
    #[arg(long, value_enum, value_name = "UNIT", help_heading = "Output")]
    pub weight: Option<Weight>,

    /// Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto, help_heading = "Output")]
    pub color: ColorChoice,
}

/// `tcpstate probes`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tcpstate probes                        which hooks there are, and which are used
  tcpstate probes -o json > probes.json  the same to be compared with another machine's

Every hook is attached for a moment and taken away again; nothing is traced. The exit code is 0 when
this kernel allows what `trace` and `leaks` cannot do without.")]
pub struct ProbesArgs {
    /// A table for people, or one JSON object, as documented by `probes-v1.schema.json`.
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        help_heading = "Output",
        hide_possible_values = true
    )]
    pub output: OutputFormat,
}

/// Format of a report of leaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LeaksFormat {
    /// For people; on a terminal each report replaces the one before.
    #[default]
    Text,
    /// One JSON object a report, as documented by `leaks-v1.schema.json`.
    Json,
    /// Stacks in one line each, as flame graph programs read them; at the end.
    Folded,
    /// A flame graph; at the end.
    Svg,
}

/// How to write what was observed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Columns for people, or one JSON object a line.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: OutputFormat,

    /// How text output shows the time; JSON always carries both clocks.
    #[arg(long, value_enum, value_name = "STYLE", default_value_t)]
    pub time: TimeStyle,

    /// Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns.
    #[default]
    Text,
    /// One JSON object a line, as documented by the command's schema.
    Json,
}

impl ValueEnum for TimeStyle {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Local, Self::Rfc3339, Self::Relative, Self::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Local => PossibleValue::new("local").help("Local wall clock, HH:MM:SS.mmm"),
            Self::Rfc3339 => PossibleValue::new("rfc3339").help("Local date, time and offset, microseconds"),
            Self::Relative => PossibleValue::new("relative").help("Seconds since the trace began"),
            Self::None => PossibleValue::new("none").help("No column of times"),
        })
    }
}

impl ValueEnum for Weight {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Seconds, Self::Sockets]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Seconds => PossibleValue::new("seconds").help("How many sockets, and for how long"),
            Self::Sockets => PossibleValue::new("sockets").help("How many sockets"),
        })
    }
}
