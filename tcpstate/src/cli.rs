//! The command line as clap sees it; `settings` makes sense of it.

mod block;
mod change;
mod doctor;
mod filter;
mod headings;
mod hunt;
mod leaks;
mod moment;
mod output;
mod parse;
mod probes;
mod record;
mod report;
mod run;
mod shell;
mod states;
mod trace;

use clap::{ArgAction, ColorChoice, Parser, Subcommand};

pub(crate) use self::shell::EXIT_CODES_HEADING;
pub use self::{
    block::AddressBlock,
    doctor::DoctorArgs,
    filter::{EndArgs, FilterArgs},
    hunt::{AgeArgs, HuntArgs},
    leaks::LeaksArgs,
    moment::{Moment, RecordedTime},
    output::{ColorArgs, LeaksFormat, LeaksOutputArgs, OutputFormat, TextArgs},
    probes::ProbesArgs,
    record::RecordArgs,
    report::{ReportArgs, Show},
    run::RunArgs,
    shell::{CompletionsArgs, EXIT_CODES, ManArgs},
    states::{ByArg, SocketFilterArgs, StatesArgs},
    trace::TraceArgs,
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
    Record(RecordArgs),
    /// Show what was recorded; needs no root, and can be done elsewhere.
    Report(Box<ReportArgs>),
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
            Self::Trace(args) => args.text.color.when,
            Self::Leaks(args) => args.color.when,
            Self::Report(args) => args.text.color.when,
            Self::Doctor(args) => args.color.when,
            Self::States(args) => args.color.when,
            Self::Run(args) => args.color,
            Self::Record(_) | Self::Probes(_) | Self::Completions(_) | Self::Man(_) => ColorChoice::Auto,
        }
    }
}
