//! Finds out what the build and the tests need and this machine lacks, and installs it.

use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::process;
use facts::{Offers, Present};
use plan::{Plan, Step, Tried};

pub(crate) use facts::installed;
pub(crate) use tools::Scope;

pub(crate) mod facts;
mod plan;
mod step;
mod tools;

/// Installs what is missing, and says nothing when nothing is.
///
/// # Errors
///
/// A step failed, or something is missing that setup cannot install here: the error lists it.
pub(crate) fn ensure(scope: Scope) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut tried = Tried::default();
    let mut done = Vec::new();
    loop {
        let present = Present::read(scope);
        if plan::is_ready(&present) {
            if !done.is_empty() {
                eprintln!("==> everything is set up after {:.1} s", start.elapsed().as_secs_f64());
            }
            return Ok(());
        }
        let Plan { steps, by_hand } = plan::plan(&present, &Offers::read(), tried);
        let Some(step) = steps.first() else {
            bail!("this machine lacks what setup cannot install here:{}", step::list(&by_hand));
        };
        if done.contains(step) {
            bail!("setup did `{step}`, and it is still needed; `cargo xtask setup --check` shows what is found");
        }
        let command = step.command()?;
        if step.needs_root() {
            // Whoever must ask somebody else for root asks once.
            let foreseen = steps.iter().filter(|step| step.needs_root()).map(Step::command);
            process::authorize(&foreseen.collect::<Result<Vec<_>, _>>()?)?;
        }
        let result = process::step(&step.to_string(), command, step.limit());
        match step {
            // Old lists may do as well.
            Step::AptUpdate => tried.apt_update = true,
            step if step.is_rustup() => tried.rustup_failed |= result.is_err(),
            _ => result.with_context(|| format!("could not {step}"))?,
        }
        done.push(step.clone());
    }
}

/// Installs what is missing, and shows what is there.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn install(scope: Scope) -> anyhow::Result<()> {
    ensure(scope)?;
    report(&Present::read(scope));
    Ok(())
}

/// Shows what is there, what is missing and what setup would do about it.
///
/// # Errors
///
/// Something is missing.
pub(crate) fn check() -> anyhow::Result<()> {
    let present = Present::read(Scope::TESTS);
    report(&present);
    if plan::is_ready(&present) {
        return Ok(());
    }
    let Plan { steps, by_hand } = plan::plan(&present, &Offers::read(), Tried::default());
    if !steps.is_empty() {
        println!("`cargo xtask setup` would");
        for step in &steps {
            println!("  - {step}");
            println!("    $ {}", process::display(&step.command()?));
        }
        println!("and look again after each step");
    }
    if !by_hand.is_empty() {
        println!("setup cannot install here:{}", step::list(&by_hand));
    }
    bail!("something is missing");
}

/// One line for each thing that is needed.
fn report(present: &Present) {
    let line = |good: bool, what: &str, detail: String| {
        println!("{:8} {what:18} {detail}", if good { "ok" } else { "missing" });
    };
    match &present.linked {
        Some(compiler) => line(
            plan::usable(compiler),
            "BPF compiler",
            format!(
                "Rust {} with LLVM {}, {} library sources and clippy, in {}",
                compiler.release,
                compiler.llvm,
                if compiler.complete { "with" } else { "without" },
                compiler.sysroot.display()
            ),
        ),
        None => line(false, "BPF compiler", "a Rust compiler with its library sources".to_owned()),
    }
    match &present.linker {
        Some(linker) => {
            let old = present.linked.as_ref().is_some_and(|compiler| compiler.llvm > linker.llvm);
            line(!old, "bpf-linker", format!("on LLVM {}, {}", linker.llvm, linker.path.display()));
        }
        None => line(false, "bpf-linker", "links BPF programs".to_owned()),
    }
    line(!present.lacks_cargo_deny, "cargo-deny", "checks licences and sources of dependencies".to_owned());
    for component in ["rustfmt", "clippy"] {
        line(!present.stable_lacks.contains(&component), component, "checks the host crates".to_owned());
    }
    for tool in Scope::TESTS.tools() {
        line(!present.tools_missing.contains(&tool), tool.command, tool.why.to_owned());
    }
}
