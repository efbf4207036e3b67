//! Arguments of `tcpstate record`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Arg, Args, ValueHint};

use super::{
    change::change,
    filter::FilterArgs,
    headings::{LIMITS, OUTPUT},
    hunt::{AgeArgs, HuntArgs},
    parse::{byte_count, duration},
};

const EXAMPLES: &str = "\
Examples:
  tcpstate record -o night.tcps                    everything, until Ctrl-C
  tcpstate record -o night.tcps --duration 8h --max-size 1G --max-files 4
  tcpstate record -o nginx.tcps --cgroup system.slice/nginx.service
  tcpstate report night.tcps                       the leaks at the end; needs no root

After a crash or on a full disk everything up to the last second or so can be read.";

/// `tcpstate record`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args(change("buffer", |buffer| buffer.default_value("16M"))), mut_args(change("older_than", late_close)))]
pub struct RecordArgs {
    /// The file to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = OUTPUT)]
    pub output: PathBuf,

    /// Write over a file that exists.
    #[arg(long, help_heading = OUTPUT)]
    pub overwrite: bool,

    /// Go on in another file when this one has so many bytes; FILE becomes FILE.1, FILE.1 becomes FILE.2.
    ///
    /// Each of them can be read by itself. K, M and G are powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = byte_count, help_heading = OUTPUT)]
    pub max_size: Option<u64>,

    /// With --max-size: keep so many files, the one being written included.
    #[arg(long, value_name = "N", requires = "max_size", help_heading = OUTPUT)]
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
