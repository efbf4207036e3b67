//! Arguments of `tcpstate doctor`.

use std::ffi::OsString;

use clap::Args;

use super::{
    headings::{FILTERS, OUTPUT},
    output::{ColorArgs, OutputFormat},
};

const EXAMPLES: &str = "\
Examples:
  tcpstate doctor                        what is wrong now, worst first, and what can be traced here
  tcpstate doctor --netns blue           the sockets and settings of one network namespace
  tcpstate doctor -o json | jq .findings

Changes nothing. Every hook is attached for a moment and taken away again. Without privileges it
shows what it can, and says what it could not look into.

Exit codes: 0 when tcpstate can trace here, whatever the findings; 1 when it cannot (the report is
written all the same) or the machine could not be looked at.";

/// `tcpstate doctor`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Only the sockets and the settings of this network namespace; else all sockets, and the settings of one's own.
    ///
    /// A name as in `ip netns`, a path such as `/proc/PID/ns/net`, or an inode number.
    #[arg(long, help_heading = FILTERS, value_name = "NAME|PATH|INODE")]
    pub netns: Option<OsString>,

    /// Text for people, or one JSON object, as documented by `doctor-v1.schema.json`.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = OUTPUT)]
    pub output: OutputFormat,

    /// Whether text is coloured.
    #[command(flatten)]
    pub color: ColorArgs,
}
