//! What is to build and be tested with stable Rust alone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::{cargo, process};

/// Crates that read no kernel and want no toolchain but stable Rust, with their tests.
const STABLE: [&str; 4] = ["tcpstate-core", "tcpstate-outfile", "tcpstate-recording", "tcpstate-stacks"];

/// What such a crate must not come to, however far away: the kernel's interface, an async runtime, the BPF programs, and what builds
/// these (`aya-build`).
fn is_unwanted(package: &str) -> bool {
    package == "aya" || package.starts_with("aya-") || package == "tokio" || package.ends_with("-ebpf")
}

/// The dependencies of these crates, of their tests and of their build scripts that are not to be there.
///
/// # Errors
///
/// cargo does not tell.
pub(super) fn unwanted() -> Result<Vec<String>> {
    let mut unwanted = Vec::new();
    for package in STABLE {
        let tree = tree(package)?;
        for dependency in tree.iter().filter(|dependency| is_unwanted(dependency)) {
            unwanted.push(format!(
                "{package} → {dependency}: `cargo tree --package {package} --invert {dependency}` shows the way"
            ));
        }
    }
    Ok(unwanted)
}

/// The names of a package and of all that its build and its tests need, on this machine.
fn tree(package: &str) -> Result<Vec<String>> {
    let mut cargo = cargo::command();
    cargo.args(["tree", "--locked", "--package", package, "--edges", "normal,build,dev", "--prefix", "none"]);
    cargo.args(["--format", "{p}"]);
    let output = cargo.output().context("failed to run `cargo tree`")?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        process::display(&cargo),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(names(&String::from_utf8(output.stdout).context("`cargo tree` tells no text")?))
}

/// Each once; `cargo tree` has a line `name v1.2.3` for each way to a package, and empty ones.
fn names(tree: &str) -> Vec<String> {
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split_ascii_whitespace().next()).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_unwanted, names};

    #[test]
    fn what_wants_a_kernel_or_a_runtime_is_found() {
        let tree = "tcpstate-core v0.1.0 (/src)\naya v0.14.0\nlibc v0.2.1\nlibc v0.2.1 (*)\n\n\
                    proptest v1.0.0\ntokio v1.0.0\ntcpstate-ebpf v0.1.0 (/src)\naya-obj v0.2.0\n";
        let names = names(tree);
        assert_eq!(names.len(), 7);
        let unwanted: Vec<_> = names.iter().filter(|name| is_unwanted(name)).collect();
        assert_eq!(unwanted, ["aya", "aya-obj", "tcpstate-ebpf", "tokio"]);
    }
}
