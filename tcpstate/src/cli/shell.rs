//! What packagers and shells want: completions, manual pages, exit codes.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

/// What the exit code of every command but `run` says.
pub const EXIT_CODES: [(u8, &str); 3] = [
    (0, "done; also when Ctrl-C or SIGTERM has ended a watch, or the reader of the output has gone"),
    (1, "failed, for the reason on standard error"),
    (2, "the command line is wrong; nothing was done"),
];

/// Above them in the help of tcpstate itself.
pub(crate) const EXIT_CODES_HEADING: &str = "Exit codes of every command but `run`:";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(tcpstate completions bash)                      for this bash
  tcpstate completions bash > /usr/share/bash-completion/completions/tcpstate
  tcpstate completions zsh > /usr/local/share/zsh/site-functions/_tcpstate
  tcpstate completions fish > ~/.config/fish/completions/tcpstate.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  tcpstate man | man -l -                                  the page of tcpstate itself
  tcpstate man states | man -l -                           that of a command
  tcpstate man --dir /usr/local/share/man/man1             all of them, as files";

/// `tcpstate completions`.
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `tcpstate man`.
#[derive(Args, Debug)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// The command to describe; without one, tcpstate as a whole.
    pub command: Option<String>,

    /// Write all pages into this directory instead, as tcpstate.1, tcpstate-trace.1 and so on.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// The end of the help of tcpstate itself.
#[must_use]
pub(super) fn after_help() -> String {
    let mut text = String::from(
        "Examples:
  tcpstate leaks                         which code leaves sockets in CLOSE_WAIT, and why
  tcpstate trace --pid 4242              every transition of the sockets of process 4242
  tcpstate states                        how many sockets are in each state, and whose

",
    );
    text.push_str(EXIT_CODES_HEADING);
    text.push('\n');
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("  {code}  {meaning}\n"));
    }
    text.push_str("\n`tcpstate help COMMAND` has more about a command, with examples.");
    text
}
