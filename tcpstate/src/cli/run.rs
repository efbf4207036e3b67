//! Arguments of `tcpstate run`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Arg, Args, ColorChoice, ValueHint, value_parser};

use super::{
    change::change,
    headings::{LEAKS, REPORT},
    hunt::{AgeArgs, HuntArgs},
    parse::duration,
};

const EXAMPLES: &str = "\
Examples:
  tcpstate run -- pytest -x
  tcpstate run --junit leaks.xml --allow tcpstate-allow.toml -- cargo test
  tcpstate run --max-dwell 5s -- node --test
  sudo tcpstate run -- setpriv --reuid=$(id -u) --regid=$(id -g) --init-groups pytest

A socket leaks when nothing but the exit of the process that holds it closes it while it is in
CLOSE_WAIT, or has left it without a close; when it is still there at the end of CMD; and, with
--max-dwell, when it was closed too late. What leaked is shown on standard error.

Exit code: CMD's own, 128+N when signal N ended it; 99 when CMD succeeded and sockets leaked; 125
when nothing could be checked or these options are wrong, 126 or 127 when CMD could not be started
or was not found.";

/// `tcpstate run`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args(change("buffer", |buffer| buffer.default_value("8M"))), mut_args(change("older_than", at_exit)))]
pub struct RunArgs {
    /// From when on they count.
    #[command(flatten)]
    pub age: AgeArgs,

    /// Also sockets that were in CLOSE_WAIT for longer than this at any time, closed or not.
    #[arg(long, help_heading = LEAKS, value_name = "TIME", value_parser = duration)]
    pub max_dwell: Option<Duration>,

    /// Let the leaks pass that this file names.
    ///
    /// TOML: `[[allow]]` with a `reason` and at least one of `function`, `module`, `remote` and `verdict`, all of which must
    /// match.
    #[arg(long, help_heading = LEAKS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub allow: Option<PathBuf>,

    /// Exit code when CMD succeeded and sockets leaked; 0 to only report.
    #[arg(long, help_heading = LEAKS, value_name = "CODE", default_value_t = 99)]
    pub leak_exit_code: u8,

    /// Run CMD even if sockets cannot be traced, such as without the needed privilege.
    #[arg(long, help_heading = LEAKS)]
    pub best_effort: bool,

    /// Write a test report in `JUnit` XML: a failed test case for each group of leaked sockets.
    #[arg(long, help_heading = REPORT, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,

    /// Write a JSON report, as documented by `run-v1.schema.json`.
    #[arg(long, help_heading = REPORT, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,

    /// Show this many groups of sockets at most; the files have all.
    #[arg(long, help_heading = REPORT, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000))]
    pub top: u32,

    /// Whether the text is coloured: auto means on a terminal, unless `NO_COLOR` is set.
    #[arg(long, help_heading = REPORT, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,

    /// What the hunt may take.
    #[command(flatten)]
    pub hunt: HuntArgs,

    /// The command to run, with its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// What `--older-than` is in a run: a socket that is left a moment after the FIN leaked all the same.
fn at_exit(older_than: Arg) -> Arg {
    older_than
        .help("Only sockets that had been in CLOSE_WAIT for this long at the exit of their process, or at the end")
        .help_heading(LEAKS)
        .default_value("0s")
}
