//! Arguments of `tcpstate trace`.

use std::{num::NonZeroU64, time::Duration};

use clap::Args;
use tcpstate_common::state::TcpState;

use super::{
    filter::FilterArgs,
    headings::{FILTERS, LIMITS, OUTPUT},
    output::{OutputFormat, TextArgs},
    parse::{byte_count, count, duration, state},
};

const EXAMPLES: &str = "\
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
#[command(after_help = EXAMPLES)]
pub struct TraceArgs {
    /// Which transitions to show.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Only transitions out of or into this state, such as `close-wait`; repeat or separate with commas.
    #[arg(long, help_heading = FILTERS, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<TcpState>,

    /// Columns for people, or one JSON object a line.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = OUTPUT)]
    pub output: OutputFormat,

    /// How text is written.
    #[command(flatten)]
    pub text: TextArgs,

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
