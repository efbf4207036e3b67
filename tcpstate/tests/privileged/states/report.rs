//! Reports of `tcpstate states -o json`, and the same numbers out of `ss`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
    process::Output,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{launch::Launch, netns::Namespace};

/// Runs `tcpstate states -o json` under conditions.
pub(super) fn run(launch: &Launch, arguments: &[&str]) -> Result<Output> {
    let mut command = launch.command(env!("CARGO_BIN_EXE_tcpstate"))?;
    command.args(["states", "-o", "json"]).args(arguments).output().context("tcpstate")
}

/// The one report of a run that has to succeed.
pub(crate) fn look_from(launch: &Launch, arguments: &[&str]) -> Result<Value> {
    let output = run(launch, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && stderr.is_empty(), "{arguments:?}: {}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}"))
}

/// The same as root.
pub(crate) fn look(arguments: &[&str]) -> Result<Value> {
    look_from(&Launch::default(), arguments)
}

/// Reports as they come.
pub(super) fn lines(stdout: impl Read) -> impl Iterator<Item = Result<Value>> {
    BufReader::new(stdout).lines().map(|line| Ok(serde_json::from_str(&line?)?))
}

/// Sockets by state, of a report or of one of its groups.
pub(super) fn state_counts(states: &Value) -> BTreeMap<String, u64> {
    let rows = states.as_array().into_iter().flatten();
    rows.filter_map(|row| Some((row["state"].as_str()?.to_owned(), row["sockets"].as_u64()?))).collect()
}

/// Sockets by state as `ss` counts them.
pub(crate) fn ss_counts(namespace: &Namespace) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for line in namespace.run("ss -tanH")?.lines() {
        let state = match line.split_whitespace().next().context("an empty line")? {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        *counts.entry(state).or_insert(0) += 1;
    }
    Ok(counts)
}
