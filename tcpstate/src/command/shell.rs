//! `tcpstate completions` and `tcpstate man`: from the command line's own description, so that they never disagree with it.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, builder::Resettable};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{
    cli::{Cli, CompletionsArgs, EXIT_CODES, EXIT_CODES_HEADING, ManArgs},
    host::terminal::shows_colors,
    session::stdout::Stdout,
    settings::SettingsError,
};

/// Name of the program in completions and pages.
const NAME: &str = "tcpstate";
/// How the part of a help begins that has the examples.
const EXAMPLES: &str = "Examples:";

/// Writes a completion script to standard output.
///
/// # Errors
///
/// When it cannot be written; a closed pipe is no error.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    print(&script)
}

/// Writes the help or the version that was asked for to standard output.
///
/// # Errors
///
/// When it cannot be written; a closed pipe is no error.
pub fn help(asked: &clap::Error) -> Result<()> {
    let text = asked.render();
    let text = if shows_colors(&io::stdout()) { text.ansi().to_string() } else { text.to_string() };
    print(text.as_bytes())
}

/// Writes one manual page to standard output, or all of them to files.
///
/// # Errors
///
/// When there is no such command, or something cannot be written.
pub fn man(args: &ManArgs) -> Result<()> {
    let commands = pages();
    if let Some(directory) = &args.dir {
        for (name, command) in commands {
            let path = directory.join(format!("{name}.1"));
            let written = tcpstate_outfile::write(&path, &page(command)?);
            written.with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        return Ok(());
    }
    let wanted = args.command.as_ref().map_or_else(|| NAME.to_owned(), |command| format!("{NAME}-{command}"));
    let names: Vec<_> = commands.iter().filter_map(|(name, _)| name.strip_prefix("tcpstate-")).collect();
    let names = names.join(", ");
    match commands.into_iter().find(|(name, _)| *name == wanted) {
        Some((_, command)) => print(&page(command)?),
        None => {
            let given = args.command.clone().unwrap_or_default();
            Err(SettingsError::NoCommand { given, known: names }.into())
        }
    }
}

/// The names of all pages, and what they describe.
fn pages() -> Vec<(String, Command)> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| (format!("{NAME}-{}", command.get_name()), command.clone()));
    let commands: Vec<_> = commands.collect();
    std::iter::once((NAME.to_owned(), program)).chain(commands).collect()
}

/// Renders a page. What follows the help becomes sections of their own.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // That of `run` is the exit code of what it runs.
    let has_common_codes = command.get_name() != "run";
    let mut out = Vec::new();
    let source = concat!("tcpstate ", env!("CARGO_PKG_VERSION"));
    Man::new(command.after_help(Resettable::Reset)).section("1").source(source).render(&mut out)?;
    let mut roff = Roff::new();
    let (examples, notes): (Vec<_>, Vec<_>) = after.split("\n\n").partition(|part| part.starts_with(EXAMPLES));
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in examples.iter().flat_map(|part| part.lines().skip(1)) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    let notes = notes.into_iter().filter(|part| !part.is_empty() && !part.starts_with(EXIT_CODES_HEADING));
    let (codes, notes): (Vec<_>, Vec<_>) = notes.partition(|part| part.starts_with("Exit code"));
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    paragraphs(&mut roff, &notes);
    roff.control("SH", ["EXIT STATUS"]);
    if has_common_codes {
        for (code, meaning) in EXIT_CODES {
            roff.control("TP", []);
            roff.text([bold(code.to_string())]);
            roff.text([roman(meaning)]);
        }
    }
    paragraphs(&mut roff, &codes);
    roff.to_writer(&mut out)?;
    Ok(out)
}

fn paragraphs(roff: &mut Roff, texts: &[&str]) {
    for text in texts {
        roff.control("PP", []);
        text.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    match Stdout.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
