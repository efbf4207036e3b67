//! Everything that must hold before a change lands.

use std::{ffi::OsString, process::Command, slice, time::Instant};

use anyhow::bail;
use clap::ValueEnum;

use crate::{build, ebpf_toolchain, process, setup};

/// A part of the whole, to be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting, clippy for host and BPF crates, documentation
    Lint,
    /// Unit, property and golden tests
    Unit,
    /// Tests that trace real sockets as root
    Privileged,
}

/// One thing that passes or fails.
struct Check {
    part: Part,
    name: &'static str,
    command: fn(&[OsString]) -> anyhow::Result<Command>,
}

/// The privileged tests come last, so that the summary of the last test runner ends the output.
const CHECKS: [Check; 6] = [
    Check { part: Part::Lint, name: "formatting", command: |_| Ok(formatting()) },
    Check { part: Part::Lint, name: "clippy", command: |_| Ok(clippy()) },
    Check { part: Part::Lint, name: "clippy of the BPF programs", command: |_| clippy_bpf() },
    Check { part: Part::Lint, name: "documentation", command: |_| Ok(documentation()) },
    Check { part: Part::Unit, name: "unit tests", command: |args| Ok(unit(args)) },
    Check { part: Part::Privileged, name: "privileged tests", command: privileged },
];

/// How a check went.
struct Outcome {
    name: &'static str,
    seconds: f64,
    passed: bool,
}

/// Sets up and runs the checks of the parts in `only` (all of them when it is empty), going on after a failure.
/// `args` go to the test runners.
///
/// # Errors
///
/// Setting up failed, or a check did: the error names each of those.
pub(crate) fn task(only: &[Part], args: &[OsString]) -> anyhow::Result<()> {
    setup::ensure(setup::Scope::Everything)?;
    let checks: Vec<_> = CHECKS.iter().filter(|check| only.is_empty() || only.contains(&check.part)).collect();
    let mut outcomes = Vec::new();
    for check in &checks {
        let start = Instant::now();
        // The privileged tests are built in making their command.
        let command = (check.command)(args);
        if check.part == Part::Privileged {
            table(&outcomes);
        }
        let result = command.and_then(|command| process::show(check.name, command));
        if let Err(error) = &result {
            eprintln!("    {error:#}");
        }
        outcomes.push(Outcome { name: check.name, seconds: start.elapsed().as_secs_f64(), passed: result.is_ok() });
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.name).collect();
    if !failed.is_empty() {
        table(&outcomes);
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// What has been checked so far, and how long it took.
fn table(outcomes: &[Outcome]) {
    for Outcome { name, seconds, passed } in outcomes {
        eprintln!("    {:6}  {seconds:6.1} s  {name}", if *passed { "ok" } else { "FAILED" });
    }
}

fn formatting() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

fn clippy() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--all-targets", "--all-features", "--", "-D", "warnings"]);
    cargo
}

/// The cargo and the clippy of the compiler that builds the BPF programs, which may be newer than the host's: therefore
/// without the dependencies, which the host's clippy has seen.
fn clippy_bpf() -> anyhow::Result<Command> {
    let mut cargo = Command::new("rustup");
    cargo
        .current_dir(process::workspace())
        .env_remove("CARGO")
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["run", ebpf_toolchain::NAME, "cargo", "clippy", "--package", "tcpstate-ebpf", "--no-deps", "--release"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(ebpf_toolchain::build_dir(&process::target_dir()?))
        .args(["--", "-D", "warnings"]);
    Ok(cargo)
}

fn documentation() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["doc", "--no-deps", "--all-features", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

fn unit(args: &[OsString]) -> Command {
    let mut cargo = process::cargo();
    cargo.arg("test").arg("--").args(args);
    cargo
}

/// Built as the user who asks for it, run as root.
fn privileged(args: &[OsString]) -> anyhow::Result<Command> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", "tcpstate", "--features", "privileged-tests", "--test", "privileged", "--no-run"]);
    let binary = build::executable(cargo, "privileged")?;
    let mut command = process::as_root(binary.as_os_str());
    process::authorize(slice::from_ref(&command))?;
    // Where cargo runs the tests of a package. They change sysctls and trace the whole machine: one at a time.
    command.current_dir(process::workspace().join("tcpstate")).arg("--test-threads=1").args(args);
    Ok(command)
}
