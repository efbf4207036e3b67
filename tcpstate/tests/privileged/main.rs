//! Tests of the commands that trace, on real sockets, as root, on the running kernel.
//!
//! The tracer is the real binary; its `-o json` is compared with what the sockets' own processes measured and with what
//! the kernel says elsewhere (`SO_COOKIE`, `getsockname()`, `/proc`, `ss`). `ip` and `ss` (iproute2) and `nsenter`
//! and `prlimit` (util-linux) have to be installed; `tests/scenarios/README.md` says what the programs that leak need besides. The
//! one argument `programs` has those programs built and no test run, for a machine that has no compilers.

mod bad_days;
mod confinement;
mod docs;
mod doctor;
mod dwell;
#[path = "../support/faults.rs"]
mod faults;
mod files;
mod filters;
mod heirs;
mod holders;
mod hostile;
mod hunts;
mod late_attach;
mod limits;
mod links;
mod listeners;
mod losses;
mod missing;
mod mounted;
mod mptcp;
mod output;
mod owners;
mod probes;
mod recordings;
mod runs;
mod scenarios;
mod sequences;
mod simultaneous;
mod stalled;
mod states;
mod stories;
mod streams;
mod support;
mod unseen;

use std::{env, process::ExitCode};

use anyhow::Context;
use libtest_mimic::{Arguments, Trial};

use support::{actor, fuse, launch::Launch};

fn main() -> ExitCode {
    heed_the_keyboard();
    let arguments: Vec<String> = env::args().collect();
    // Actors, launchers and what is confined are this binary again, before it has a second thread.
    let result = match arguments.get(1).map(String::as_str) {
        Some("actor") => actor::run(&arguments[2..]),
        Some("launch") => launch(&arguments[2..]),
        Some("confined") => confinement::process::run(&arguments[2..]),
        Some("programs") => build_programs(),
        Some("fuse") => fuse::run(&arguments[2..]),
        Some("hostile") => hostile::by_hand(&arguments[2..]),
        _ => return libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", arguments[1]);
            ExitCode::FAILURE
        }
    }
}

/// A shell without job control has what it starts in the background ignore the keys that end it, and so would all that the tests
/// start.
fn heed_the_keyboard() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: no handler is set, and there is no other thread yet.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// All that the tests run and a compiler has to make.
fn build_programs() -> anyhow::Result<()> {
    scenarios::build()?;
    hunts::build()?;
    hostile::build()?;
    runs::build()
}

fn launch(arguments: &[String]) -> anyhow::Result<()> {
    let (launch, argv) = arguments.split_first().context("no conditions")?;
    serde_json::from_str::<Launch>(launch)?.become_program(argv)
}

fn trials() -> Vec<Trial> {
    [
        sequences::trials(),
        simultaneous::trials(),
        stalled::trials(),
        owners::trials(),
        stories::trials(),
        unseen::trials(),
        listeners::trials(),
        heirs::trials(),
        files::trials(),
        filters::trials(),
        holders::trials(),
        late_attach::trials(),
        losses::trials(),
        dwell::trials(),
        mounted::trials(),
        mptcp::trials(),
        output::trials(),
        probes::trials(),
        doctor::trials(),
        docs::trials(),
        limits::trials(),
        links::trials(),
        bad_days::trials(),
        confinement::trials(),
        missing::trials(),
        streams::trials(),
        hunts::trials(),
        runs::trials(),
        hostile::trials(),
        recordings::trials(),
        scenarios::trials(),
        states::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
