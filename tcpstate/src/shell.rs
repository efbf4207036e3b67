//! `tcpstate completions` and `tcpstate man`: from the command line's own description, so that they never disagree with it.

use std::{
    fs,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result, bail};
use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::cli::{Cli, CompletionsArgs, EXIT_CODES, ManArgs};

/// Name of the program in completions and pages.
const NAME: &str = "tcpstate";

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
            fs::write(&path, page(command)?).with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        return Ok(());
    }
    let wanted = args.command.as_ref().map_or_else(|| NAME.to_owned(), |command| format!("{NAME}-{command}"));
    let names: Vec<_> = commands.iter().filter_map(|(name, _)| name.strip_prefix("tcpstate-")).collect();
    let names = names.join(", ");
    match commands.into_iter().find(|(name, _)| *name == wanted) {
        Some((_, command)) => print(&page(command)?),
        None => bail!("no command `{}`: there are {names}", args.command.as_deref().unwrap_or_default()),
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

/// Renders a page; exit codes are the same for every command.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let is_program = command.has_subcommands();
    let man = Man::new(command).section("1");
    let mut out = Vec::new();
    man.render(&mut out)?;
    if !is_program {
        let mut roff = Roff::new();
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in EXIT_CODES {
            roff.control("TP", []);
            roff.text([bold(code.to_string())]);
            roff.text([roman(meaning)]);
        }
        roff.to_writer(&mut out)?;
    }
    Ok(out)
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to standard output"),
    }
}
