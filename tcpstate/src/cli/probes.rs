//! Arguments of `tcpstate probes`.

use clap::Args;

use super::{headings::OUTPUT, output::OutputFormat};

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
        help_heading = OUTPUT,
        hide_possible_values = true
    )]
    pub output: OutputFormat,
}
