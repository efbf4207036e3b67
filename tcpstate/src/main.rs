//! `tcpstate`: parse, run, exit code.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use tcpstate::{
    cli::{Cli, Command},
    leaks, record, replay,
    settings::{TraceSettings, host::Host, leaks::LeaksSettings, record::RecordSettings, replay::ReplaySettings},
    trace,
};
use tracing::Level;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let debug = cli.verbose >= 2;
    let host = Host::detect();
    let result = match &cli.command {
        Command::Trace(args) => runtime.block_on(trace::run(&TraceSettings::new(args, &host)?, debug)),
        Command::Record(args) => runtime.block_on(record::run(&RecordSettings::new(args, &host)?, &host, debug)),
        Command::Report(args) => replay::run(&ReplaySettings::new(args, &host)?),
        Command::Leaks(args) => runtime.block_on(leaks::run(&LeaksSettings::new(args, &host)?, debug)),
    };
    // A writer whose reader has stopped reading must not keep us.
    runtime.shutdown_background();
    result
}

/// Warnings always; `-v` what was chosen, `-vv` everything, the BPF programs' own words included.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .init();
}
