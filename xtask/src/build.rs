//! Builds the release binary.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::{cargo, process, setup};

/// The feature of `tcpstate` that turns on the tests which need root.
pub(crate) const PRIVILEGED: &str = "privileged-tests";

/// Sets up, builds, and prints the path and the size of the binary.
///
/// # Errors
///
/// A step failed, or the binary does not start or is not as static as asked for.
pub(crate) fn task(linked_statically: bool) -> anyhow::Result<()> {
    setup::ensure(setup::Scope::BUILD)?;
    let binary = if linked_statically { static_release()? } else { release("tcpstate")? };
    let mib = binary.metadata()?.len() as f64 / f64::from(1 << 20);
    println!("{} ({mib:.1} MiB)", binary.display());
    Ok(())
}

/// Builds the release binary of `package` and tells where it is.
///
/// # Errors
///
/// The build failed.
pub(crate) fn release(package: &str) -> anyhow::Result<PathBuf> {
    let mut command = cargo::command();
    command.args(["build", "--package", package, "--bin", package, "--release"]);
    cargo::executable(command, package)
}

/// Builds the release binary, static, and tells where it is.
///
/// # Errors
///
/// The build failed, or made something that is not static or does not start.
pub(crate) fn static_release() -> anyhow::Result<PathBuf> {
    let binary = static_binary("tcpstate")?;
    let status = Command::new(&binary).arg("--version").stdout(Stdio::null()).status()?;
    ensure!(status.success(), "`{} --version` failed: {status}", binary.display());
    Ok(binary)
}

/// Builds the binary of `package`, to run on any Linux of this architecture, and tells where it is.
///
/// # Errors
///
/// The build failed, or made something that is not static.
pub(crate) fn static_binary(package: &str) -> anyhow::Result<PathBuf> {
    let mut command = cargo::command();
    command.args(["build", "--release", "--package", package, "--bin", package]);
    make_static(&mut command)?;
    let binary = cargo::executable(command, package)?;
    is_static(&binary)?;
    Ok(binary)
}

/// What tests are built with besides the profile `dev`. Guests keep them in memory, hence no debug info, and their processors are
/// emulated, hence some optimization: of what starts a tracer and of what names a stack, as all would take too long to build.
const TESTS: [&str; 12] = [
    "profile.dev.debug=false",
    "profile.dev.package.tcpstate.opt-level=2",
    "profile.dev.package.tcpstate-core.opt-level=2",
    "profile.dev.package.tcpstate-recording.opt-level=2",
    "profile.dev.package.tcpstate-stacks.opt-level=2",
    "profile.dev.package.aya.opt-level=1",
    "profile.dev.package.aya-obj.debug-assertions=false",
    "profile.dev.package.cpp_demangle.opt-level=1",
    "profile.dev.package.framehop.opt-level=1",
    "profile.dev.package.gimli.opt-level=1",
    "profile.dev.package.object.opt-level=1",
    "profile.dev.package.zlib-rs.opt-level=2",
];

/// `cargo test` as all tests are built: statically, so that the very same binaries run on this machine and in guests.
///
/// # Errors
///
/// cargo does not tell what it builds for.
pub(crate) fn tests() -> anyhow::Result<Command> {
    let mut command = cargo::command();
    command.arg("test").args(TESTS.iter().flat_map(|setting| ["--config", setting]));
    make_static(&mut command)?;
    Ok(command)
}

/// Where the program is that tests run; its path is in them.
///
/// # Errors
///
/// cargo does not tell.
pub(crate) fn tested_program() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join(host()?).join("debug").join("tcpstate"))
}

/// Where tests have what they build for themselves; its path is in them.
///
/// # Errors
///
/// cargo does not tell.
pub(crate) fn tests_directory() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join(host()?).join("tmp"))
}

/// Builds the tests that need root, and tells the name and the path of each of their binaries.
///
/// # Errors
///
/// A build failed, or made something that is not static.
pub(crate) fn privileged_tests() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let names = cargo::tests_that_require(PRIVILEGED)?;
    ensure!(!names.is_empty(), "no test requires the feature `{PRIVILEGED}`");
    let mut built = Vec::with_capacity(names.len());
    for name in &names {
        let mut command = tests()?;
        command.args(["--package", "tcpstate", "--package", "tcpstate-stacks", "--features", PRIVILEGED, "--no-run"]);
        // All at once: those that come after the first find everything built.
        command.args(names.iter().flat_map(|name| ["--test", name]));
        let path = cargo::executable(command, name)?;
        is_static(&path)?;
        built.push((name.clone(), path));
    }
    Ok(built)
}

/// Has a cargo command link statically.
fn make_static(command: &mut Command) -> anyhow::Result<()> {
    // With `--target` the flags stay away from build scripts, which load proc macros dynamically.
    command.args(["--target", &host()?]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    Ok(())
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
