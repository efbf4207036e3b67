//! Everything that must hold before a change lands.

use std::{env, ffi::OsString, process::Command, slice, time::Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::{build, cargo, ebpf_toolchain, process, setup};

/// A part of the whole, to be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting, clippy for host and BPF crates, what keeps files and crates apart, licences, documentation
    Lint,
    /// Unit, property and golden tests
    Unit,
    /// Tests that trace real sockets as root
    Privileged,
    /// The same tests in guests with other kernels: some on all of them, half of the others on one each
    Vm,
    /// Known vulnerabilities of dependencies, which the network tells: only when it is asked for
    Advisories,
}

/// Of the tests that need root, those that meet what kernels differ in: each hook and helper, each command, and the way to a stack.
/// All kernels get these. Half of the others run on one of them each, and the other half at the next commit: every test in every guest
/// takes longer than all the rest (`cargo xtask vm`).
const OF_KERNELS: [&str; 20] = [
    "runs::leaks::closed_by_nothing_but_the_exit",
    "heirs::of_an_accepted_socket",
    "holders::told_of_the_end",
    "hostile::leaks::debug_links",
    "hostile::leaks::unanswered_files",
    "hostile::run::tables",
    "hunts::awake::spinning",
    "hunts::closing::by_every_call",
    "hunts::rings::waiting",
    "late_attach::to_an_accept_under_way",
    "losses::nothing_overwritten",
    "owners::accept_and_accept4",
    "probes::chooses_what_a_trace_uses",
    "recordings::counts_of_states",
    "scenarios::leaks::attached::ghost_shutdown",
    "scenarios::leaks::attached::go_tunnel",
    "scenarios::leaks::before_attach::never_accepted",
    "scenarios::leaks::kernel_stacks::send_block",
    "states::every_state_as_in_ss",
    "unseen::with_the_end",
];

/// One thing that passes or fails: commands that are all run.
struct Check {
    part: Part,
    name: &'static str,
    commands: fn(&[OsString]) -> anyhow::Result<Vec<Command>>,
}

/// The privileged tests come last, so that the summary of the last test runner ends the output.
const CHECKS: [Check; 10] = [
    Check { part: Part::Lint, name: "formatting", commands: |_| Ok(vec![formatting()]) },
    Check { part: Part::Lint, name: "clippy", commands: |_| Ok(vec![clippy()]) },
    Check { part: Part::Lint, name: "clippy of the BPF programs", commands: |_| Ok(vec![clippy_bpf()?]) },
    Check { part: Part::Lint, name: "walls", commands: |_| Ok(vec![walls()?]) },
    Check {
        part: Part::Lint,
        name: "licences and sources",
        commands: |_| Ok(vec![deny(&["bans", "licenses", "sources"])?]),
    },
    Check { part: Part::Lint, name: "documentation", commands: |_| Ok(vec![documentation()]) },
    Check { part: Part::Unit, name: "unit tests", commands: |args| Ok(vec![unit(args)?]) },
    Check { part: Part::Advisories, name: "advisories", commands: |_| Ok(vec![deny(&["advisories"])?]) },
    Check { part: Part::Vm, name: "privileged tests in guests", commands: |args| Ok(vec![guests(args)?]) },
    Check { part: Part::Privileged, name: "privileged tests", commands: privileged },
];

/// How a check went.
struct Outcome {
    name: &'static str,
    seconds: f64,
    passed: bool,
}

/// Sets up and runs the checks of the parts in `only` (when it is empty all of them, guests only with `vm`), going on after
/// a failure. `args` go to the test runners.
///
/// # Errors
///
/// Setting up failed, or a check did: the error names each of those.
pub(crate) fn task(only: &[Part], vm: bool, args: &[OsString]) -> anyhow::Result<()> {
    let wanted = |part| match part {
        Part::Vm => vm || only.contains(&part),
        Part::Advisories => only.contains(&part),
        _ => only.contains(&part) || only.is_empty(),
    };
    setup::ensure(setup::Scope { guests: wanted(Part::Vm), ..setup::Scope::TESTS })?;
    let mut outcomes = Vec::new();
    for check in CHECKS.iter().filter(|check| wanted(check.part)) {
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
        .args(["run", ebpf_toolchain::NAME, "cargo", "clippy", "--no-deps", "--release"])
        .args(["--package", "tcpstate-ebpf", "--package", "tcpstate-floor-ebpf"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(ebpf_toolchain::build_dir(&cargo::target_dir()?))
        .args(["--", "-D", "warnings"]);
    Ok(cargo)
}

/// A process of its own, like the other checks.
fn walls() -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("walls");
    Ok(command)
}

/// What `deny.toml` says of dependencies. All but advisories needs no more of the network than a build does.
fn deny(checks: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(setup::installed("cargo-deny").context("`cargo-deny` is not installed")?);
    command.current_dir(cargo::workspace());
    command.args(["--locked", "check", "-D", "warnings"]).args(checks);
    Ok(command)
}

fn documentation() -> Command {
    let mut cargo = cargo::command();
    cargo.args(["doc", "--no-deps", "--all-features", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

fn unit(args: &[OsString]) -> anyhow::Result<Command> {
    let mut cargo = build::tests()?;
    cargo.args(["--no-fail-fast", "--"]).args(args);
    Ok(cargo)
}

/// A process of its own, like the other checks.
fn guests(args: &[OsString]) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("vm");
    if args.is_empty() {
        command.args(["--deal", "--"]).args(OF_KERNELS);
    } else {
        command.arg("--").args(args);
    }
    Ok(command)
}

/// Built as the user who asks for it, run as root.
fn privileged(args: &[OsString]) -> anyhow::Result<Vec<Command>> {
    let mut commands = Vec::new();
    for (_, test) in build::privileged_tests()? {
        let mut command = process::as_root(test.as_os_str());
        // Where cargo runs the tests of a package. They change sysctls and trace the whole machine: one at a time.
        command.current_dir(cargo::workspace().join("tcpstate")).arg("--test-threads=1").args(args);
        commands.push(command);
    }
    process::authorize(&commands)?;
    Ok(commands)
}
