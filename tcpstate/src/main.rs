//! `tcpstate`: parse, run, exit code.

use std::{
    env,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use clap::{ColorChoice, Parser as _};
use tcpstate::{
    cli::{Cli, Command},
    command::{doctor, leaks, probes, record, report, run, shell, states, trace},
    confinement,
    host::{
        Host,
        inherited::outlive_file_limit,
        preflight,
        stderr::{Messages, Stderr, complain},
        terminal::shows_colors,
    },
    sandbox::role::ChildRole,
    settings::{
        SettingsError, doctor::DoctorSettings, leaks::LeaksSettings, record::RecordSettings, report::ReportSettings,
        run::RunSettings, states::StatesSettings, trace::TraceSettings,
    },
};
use tracing::Level;

/// Exit code when the command line is wrong, as of clap.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Some(role) = ChildRole::own() {
        return role.run();
    }
    if env::args_os().next().is_some_and(|name| name == confinement::PROBE_ENTRY) {
        return confinement::answer();
    }
    outlive_file_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    log_to_stderr(&cli);
    match execute(&cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            match error.downcast_ref::<SettingsError>() {
                Some(error) if error.is_usage() => USAGE.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Says what clap has to say: what is wrong with the command line, or the help.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match shell::help(error) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        };
    }
    let text = error.render();
    let colored = shows_colors(&std::io::stderr());
    let _ = if colored { write!(Stderr, "{}", text.ansi()) } else { write!(Stderr, "{text}") };
    // No option before the command has a value.
    let command = env::args_os().skip(1).find(|word| !word.as_encoded_bytes().starts_with(b"-"));
    if command.is_some_and(|command| command == "run") { run::FAILED.into() } else { USAGE.into() }
}

fn execute(cli: &Cli) -> Result<ExitCode> {
    let debug = cli.verbose >= 2;
    let host = Host::detect();
    if let Command::Run(args) = &cli.command {
        // It forks before there is anything else.
        return Ok(run::main(RunSettings::new(args, &host), &host, debug));
    }
    preflight::check_descriptor_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = match &cli.command {
        Command::Run(_) => Ok(()),
        Command::Trace(args) => runtime.block_on(trace::run(&TraceSettings::new(args, &host)?, &host, debug)),
        Command::Record(args) => runtime.block_on(record::run(&RecordSettings::new(args, &host)?, &host, debug)),
        Command::Report(args) => report::run(&ReportSettings::new(args, &host)?),
        Command::Leaks(args) => runtime.block_on(leaks::run(&LeaksSettings::new(args, &host)?, &host, debug)),
        Command::Probes(args) => probes::run(args.output),
        Command::Doctor(args) => doctor::run(&DoctorSettings::new(args, &host)?, &host),
        Command::States(args) => runtime.block_on(states::run(&StatesSettings::new(args, &host)?, &host)),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
    };
    // A writer whose reader has stopped reading must not keep us.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Warnings always; `-v` what was chosen, `-vv` everything, the BPF programs' own words included.
fn log_to_stderr(cli: &Cli) {
    let level = match cli.verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    let stderr = std::io::stderr();
    let color = match cli.command.color() {
        // What has to have colours in a file or a pipe is the text, not the log beside it.
        ColorChoice::Always => stderr.is_terminal(),
        ColorChoice::Auto => shows_colors(&stderr),
        ColorChoice::Never => false,
    };
    tracing_subscriber::fmt()
        .with_ansi(color)
        .with_writer(move || Messages { colored: color })
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .init();
}
