//! Everything that must hold before a change lands.

use std::{ffi::OsString, process::Command, slice, time::Instant};

use anyhow::{bail, ensure};
use clap::ValueEnum;

use crate::{cargo, ebpf_toolchain, process, setup};

/// The feature of `tcpstate` that turns on the tests which need root.
const PRIVILEGED: &str = "privileged-tests";

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

/// One thing that passes or fails: commands that are all run.
struct Check {
    part: Part,
    name: &'static str,
    commands: fn(&[OsString]) -> anyhow::Result<Vec<Command>>,
}

/// The privileged tests come last, so that the summary of the last test runner ends the output.
const CHECKS: [Check; 6] = [
    Check { part: Part::Lint, name: "formatting", commands: |_| Ok(vec![formatting()]) },
    Check { part: Part::Lint, name: "clippy", commands: |_| Ok(vec![clippy()]) },
    Check { part: Part::Lint, name: "clippy of the BPF programs", commands: |_| Ok(vec![clippy_bpf()?]) },
    Check { part: Part::Lint, name: "documentation", commands: |_| Ok(vec![documentation()]) },
    Check { part: Part::Unit, name: "unit tests", commands: |args| Ok(vec![unit(args)]) },
    Check { part: Part::Privileged, name: "privileged tests", commands: privileged },
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
    setup::ensure(setup::Scope::TESTS)?;
    let mut outcomes = Vec::new();
    for check in CHECKS.iter().filter(|check| only.is_empty() || only.contains(&check.part)) {
        let start = Instant::now();
        // The privileged tests are built here.
        let commands = (check.commands)(args);
        if check.part == Part::Privileged {
            table(&outcomes);
        }
        let passed = match commands {
            Ok(commands) => run(check.name, commands),
            Err(error) => {
                eprintln!("    {error:#}");
                false
            }
        };
        outcomes.push(Outcome { name: check.name, seconds: start.elapsed().as_secs_f64(), passed });
        if check.part != Part::Privileged {
            table(outcomes.last().map_or(&[], slice::from_ref));
        }
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.name).collect();
    if !failed.is_empty() {
        table(&outcomes);
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs all of `commands`, and tells whether all succeeded.
fn run(name: &str, commands: Vec<Command>) -> bool {
    let mut passed = true;
    for command in commands {
        if let Err(error) = process::show(name, command) {
            eprintln!("    {error:#}");
            passed = false;
        }
    }
    passed
}

/// What has been checked so far, and how long it took.
fn table(outcomes: &[Outcome]) {
    for Outcome { name, seconds, passed } in outcomes {
        eprintln!("    {:6}  {seconds:6.1} s  {name}", if *passed { "ok" } else { "FAILED" });
    }
}

fn formatting() -> Command {
    let mut cargo = cargo::command();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

fn clippy() -> Command {
    let mut cargo = cargo::command();
    cargo.args(["clippy", "--all-targets", "--all-features", "--", "-D", "warnings"]);
    cargo
}

/// The cargo and the clippy of the compiler that builds the BPF programs, which may be newer than the host's: therefore
/// without the dependencies, which the host's clippy has seen.
fn clippy_bpf() -> anyhow::Result<Command> {
    let mut cargo = Command::new("rustup");
    cargo
        .current_dir(cargo::workspace())
        .env_remove("CARGO")
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["run", ebpf_toolchain::NAME, "cargo", "clippy", "--package", "tcpstate-ebpf", "--no-deps", "--release"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(ebpf_toolchain::build_dir(&cargo::target_dir()?))
        .args(["--", "-D", "warnings"]);
    Ok(cargo)
}

fn documentation() -> Command {
    let mut cargo = cargo::command();
    cargo.args(["doc", "--no-deps", "--all-features", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

fn unit(args: &[OsString]) -> Command {
    let mut cargo = cargo::command();
    cargo.args(["test", "--no-fail-fast", "--"]).args(args);
    cargo
}

/// Built as the user who asks for it, run as root.
fn privileged(args: &[OsString]) -> anyhow::Result<Vec<Command>> {
    let tests = cargo::tests_that_require(PRIVILEGED)?;
    ensure!(!tests.is_empty(), "no test requires the feature `{PRIVILEGED}`");
    let mut commands = Vec::new();
    for test in tests {
        let mut cargo = cargo::command();
        cargo.args(["test", "--package", "tcpstate", "--features", PRIVILEGED, "--no-run", "--test", &test]);
        let mut command = process::as_root(cargo::executable(cargo, &test)?.as_os_str());
        // Where cargo runs the tests of a package. They change sysctls and trace the whole machine: one at a time.
        command.current_dir(cargo::workspace().join("tcpstate")).arg("--test-threads=1").args(args);
        commands.push(command);
    }
    process::authorize(&commands)?;
    Ok(commands)
}
