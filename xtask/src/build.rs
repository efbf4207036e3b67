//! Builds the release binary.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::{cargo, process, setup};

/// Sets up, builds, and prints the path and the size of the binary.
///
/// # Errors
///
/// A step failed, or the binary does not start or is not as static as asked for.
pub(crate) fn task(linked_statically: bool) -> anyhow::Result<()> {
    setup::ensure(setup::Scope::BUILD)?;
    let binary = if linked_statically { static_release()? } else { release()? };
    let mib = binary.metadata()?.len() as f64 / f64::from(1 << 20);
    println!("{} ({mib:.1} MiB)", binary.display());
    Ok(())
}

/// Builds the release binary and tells where it is.
///
/// # Errors
///
/// The build failed.
pub(crate) fn release() -> anyhow::Result<PathBuf> {
    let mut command = cargo::command();
    command.args(["build", "--package", "tcpstate", "--bin", "tcpstate", "--release"]);
    cargo::executable(command, "tcpstate")
}

fn static_release() -> anyhow::Result<PathBuf> {
    let binary = static_binary("tcpstate", "tcpstate")?;
    let status = Command::new(&binary).arg("--version").stdout(Stdio::null()).status()?;
    ensure!(status.success(), "`{} --version` failed: {status}", binary.display());
    Ok(binary)
}

/// Builds a binary that runs on any Linux of this architecture, and tells where it is.
///
/// # Errors
///
/// The build failed, or made something that is not static.
pub(crate) fn static_binary(package: &str, binary: &str) -> anyhow::Result<PathBuf> {
    let mut command = cargo::command();
    command.args(["build", "--package", package, "--bin", binary]);
    statically(command, binary)
}

/// Has a `cargo build` or `cargo test --no-run` make an optimized static executable.
fn statically(mut command: Command, target: &str) -> anyhow::Result<PathBuf> {
    // With `--target` the flags stay away from build scripts, which load proc macros dynamically.
    command.args(["--release", "--target", &host()?]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    let binary = cargo::executable(command, target)?;
    is_static(&binary)?;
    Ok(binary)
}

/// The triple that cargo builds for.
fn host() -> anyhow::Result<String> {
    let output = cargo::command().arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`cargo -vV` tells no host")
}

/// An executable that needs no dynamic loader has neither an interpreter nor needed libraries.
fn is_static(binary: &Path) -> anyhow::Result<()> {
    let mut readelf = Command::new("readelf");
    readelf.args(["--wide", "--program-headers", "--dynamic"].map(OsStr::new)).arg(binary).env("LC_ALL", "C");
    let output = readelf.output().context("failed to run `readelf` of binutils")?;
    ensure!(output.status.success(), "`{}` failed", process::display(&readelf));
    let text = String::from_utf8_lossy(&output.stdout);
    let dynamic = text.lines().find(|line| line.contains("INTERP") || line.contains("(NEEDED)"));
    if let Some(line) = dynamic {
        bail!("`{}` is not static: {}", binary.display(), line.trim());
    }
    Ok(())
}
