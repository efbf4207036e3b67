//! Arguments of `tcpstate leaks`.

use std::time::Duration;

use clap::{Args, value_parser};

use super::{
    filter::FilterArgs,
    headings::{LIMITS, OUTPUT, REPORT},
    hunt::{AgeArgs, HuntArgs},
    output::{ColorArgs, LeaksOutputArgs},
    parse::duration,
};

const EXAMPLES: &str = "\
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
#[command(after_help = EXAMPLES)]
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
    #[arg(long, help_heading = OUTPUT)]
    pub kernel_stack: bool,

    /// How to write the reports.
    #[command(flatten)]
    pub output: LeaksOutputArgs,

    /// Whether text is coloured.
    #[command(flatten)]
    pub color: ColorArgs,
}
