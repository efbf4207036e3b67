//! cargo, and what it tells in JSON.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::process;

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The cargo that runs this task, in the workspace.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// `cargo metadata` failed.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let metadata = metadata()?;
    let path = metadata.get("target_directory").and_then(Value::as_str);
    Ok(path.context("`cargo metadata` names no target directory")?.into())
}

/// The integration tests, of all packages, that `feature` turns on.
///
/// # Errors
///
/// `cargo metadata` failed.
pub(crate) fn tests_that_require(feature: &str) -> anyhow::Result<Vec<String>> {
    let metadata = metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let targets = packages.filter_map(|package| package.get("targets")?.as_array()).flatten();
    let tests = targets.filter_map(|target| {
        let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
        let requires = target.get("required-features")?.as_array()?.iter().any(|required| required == feature);
        let name = target.get("name")?.as_str()?;
        (is_test && requires).then(|| name.to_owned())
    });
    Ok(tests.collect())
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The first files of its libraries and binaries.
    pub(crate) roots: Vec<PathBuf>,
}

/// All of them.
///
/// # Errors
///
/// `cargo metadata` failed.
pub(crate) fn packages() -> anyhow::Result<Vec<Package>> {
    let metadata = metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let packages = packages.filter_map(|package| {
        let targets = package.get("targets")?.as_array()?.iter();
        let roots = targets.filter(|target| ["lib", "bin"].iter().any(|kind| target["kind"][0] == *kind));
        let roots = roots.filter_map(|target| Some(target.get("src_path")?.as_str()?.into())).collect();
        Some(Package { name: package.get("name")?.as_str()?.to_owned(), roots })
    });
    Ok(packages.collect())
}

/// Runs a `cargo build` or `cargo test --no-run`, with its progress on our stderr, and tells where the executable of
/// `target` is.
///
/// # Errors
///
/// The build failed or made no such executable.
pub(crate) fn executable(mut cargo: Command, target: &str) -> anyhow::Result<PathBuf> {
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let shown = process::display(&cargo);
    let output = cargo.output().with_context(|| format!("failed to run `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    let executable = output.stdout.split(|&byte| byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let executable = message.get("executable")?.as_str()?;
        (message.pointer("/target/name")?.as_str()? == target).then(|| PathBuf::from(executable))
    });
    executable.with_context(|| format!("`{shown}` made no executable `{target}`"))
}

fn metadata() -> anyhow::Result<Value> {
    let mut cargo = command();
    cargo.args(["metadata", "--no-deps", "--format-version=1"]).stderr(Stdio::inherit());
    let output = cargo.output().context("failed to run `cargo metadata`")?;
    ensure!(output.status.success(), "`cargo metadata` failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("`cargo metadata` is no JSON")
}
