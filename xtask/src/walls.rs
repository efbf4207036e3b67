//! The walls between files and between crates: `cargo xtask walls`.
//!
//! What a compiler keeps apart, crates do: nobody can import `tcpstate` from `tcpstate-core`. The rest is checked here: within a
//! crate two files never need each other, one name is of one type everywhere, and what is to build with stable Rust alone does not
//! come to depend on what cannot.

mod cycles;
mod dependencies;
mod imports;
mod names;
#[cfg(test)]
mod tests;
mod tree;

use anyhow::{Result, bail};

use self::tree::Tree;
use crate::cargo;

/// Checks all of them and tells what is wrong, each with the files that it is in.
///
/// # Errors
///
/// Something is wrong, or a file cannot be read.
pub(crate) fn task() -> Result<()> {
    let mut crates = Vec::new();
    for package in cargo::packages()?.into_iter().filter(|package| package.name.starts_with("tcpstate")) {
        for root in &package.roots {
            crates.push((package.name.clone(), Tree::read(cargo::workspace(), root)?));
        }
    }
    let mut broken = Vec::new();
    let mut check = |what: &'static str, findings: &[String]| {
        for finding in findings {
            println!("{finding}\n");
        }
        if !findings.is_empty() {
            broken.push(format!("{} {what}", findings.len()));
        }
    };
    check("import cycles", &crates.iter().flat_map(|(_, tree)| imports::cycles(tree)).collect::<Vec<_>>());
    // The kernel's side has names of its own for what it keeps.
    let (kernel, user): (Vec<_>, Vec<_>) = crates.iter().partition(|(name, _)| name.ends_with("-ebpf"));
    let mut twice = names::defined_twice(user.into_iter().map(|(_, tree)| tree));
    twice.extend(kernel.into_iter().flat_map(|(_, tree)| names::defined_twice([tree])));
    check("names of several types", &twice);
    check("dependencies that need more than stable Rust", &dependencies::unwanted()?);
    if !broken.is_empty() {
        bail!("{}", broken.join(", "));
    }
    Ok(())
}
