//! `tcpstate probes`: what it says of this kernel is what `trace` does on it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    bpf::known_to_kernel,
    launch::Launch,
    process::Actor,
    run::trials,
    tracer::{PATIENCE, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "probes";
        chooses_what_a_trace_uses, table_says_the_same, nothing_stays_attached, no_btf, not_root,
        nobody_reads_the_table,
    ]
}

/// Roles and their hooks: of a trace that follows a process, all that it has, as `probes` tells them, with the same refusals.
fn chooses_what_a_trace_uses() -> Result<()> {
    let probes = json()?;
    ensure!(probes["usable"] == true, "{probes}");
    let told = chosen(&probes["roles"])?;
    let actor = Actor::start("ts-followed")?;
    let trace = Tracer::start(["--pid", &actor.pid.to_string()])?.finish()?;
    let hooks = &trace.probes["hooks"];
    let used = chosen(&hooks["roles"])?;
    ensure!(used.len() >= 7 && used.contains_key("processes"), "{used:?}");
    for (role, hook) in &used {
        ensure!(told.get(role) == Some(hook), "`{role}` is {hook} in a trace, {:?} in `probes`", told.get(role));
    }
    ensure!(used["transitions"] == hooks["transition"] && used["accept"] == hooks["accept"], "{hooks}");
    for refused in hooks["refused"].as_array().context("no refusals")? {
        let mut hooks = probes["roles"].as_array().into_iter().flatten().filter_map(|role| role["hooks"].as_array());
        let told = hooks.find_map(|hooks| hooks.iter().find(|hook| hook["hook"] == refused["hook"]));
        let told = told.with_context(|| format!("not in `probes`: {refused}"))?;
        ensure!(
            told["allowed"] == false && told["errno"] == refused["errno"],
            "{told} in `probes`, {refused} in a trace"
        );
    }
    for field in ["kernel", "lockdown"] {
        ensure!(probes[field] == trace.probes[field], "{field}: {} and {}", probes[field], trace.probes[field]);
    }
    Ok(())
}

fn table_says_the_same() -> Result<()> {
    let probes = json()?;
    let output = run(&[], &Launch::default())?;
    ensure!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout)?;
    for role in probes["roles"].as_array().context("no roles")? {
        for hook in role["hooks"].as_array().context("no hooks")? {
            let status = match (hook["allowed"].as_bool(), role["chosen"] == hook["hook"]) {
                (Some(true), true) => "chosen",
                (Some(true), false) => "allowed",
                _ => "refused",
            };
            let name = hook["hook"].as_str().context("no name")?;
            let line = table.lines().find(|line| line.contains(&format!(" {name} "))).context("not in the table");
            let line = line.with_context(|| name.to_owned())?;
            ensure!(line.contains(&format!(" {status}")), "expected {status}: {line}");
            if let Some(reason) = hook["reason"].as_str() {
                ensure!(line.ends_with(reason), "expected {reason}: {line}");
            }
        }
    }
    Ok(())
}

/// What was tried is gone from the kernel soon after, and no mount stays.
fn nothing_stays_attached() -> Result<()> {
    let mounts = || fs::read_to_string("/proc/self/mountinfo");
    let (mounted, before) = (mounts()?, known_to_kernel()?);
    json()?;
    ensure!(mounts()? == mounted, "mounts were left behind:\n{}", mounts()?);
    // The kernel frees programs and maps a grace period later.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: Vec<_> = known_to_kernel()?.difference(&before).cloned().collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "still in the kernel: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn no_btf() -> Result<()> {
    let launch = Launch { emptied: vec![PathBuf::from("/sys/kernel/btf")], ..Launch::default() };
    refused(&launch, &["kernel has no BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y"])
}

fn not_root() -> Result<()> {
    refused(&Launch { uid: Some(65_534), ..Launch::default() }, &["CAP_BPF", "CAP_PERFMON", "sudo"])
}

/// A pipe that its reader closes is no error.
fn nobody_reads_the_table() -> Result<()> {
    let mut command = Launch::default().command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output =
        command.arg("probes").stdout(writer).stderr(std::process::Stdio::piped()).spawn()?.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

fn refused(launch: &Launch, needles: &[&str]) -> Result<()> {
    let output = run(&["-o", "json"], launch)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}: {stderr}", output.status);
    let message = stderr.strip_prefix("error: ").with_context(|| format!("no `error: ` in {stderr}"))?;
    for needle in needles {
        ensure!(message.contains(needle), "does not name `{needle}`: {message}");
    }
    Ok(())
}

fn json() -> Result<Value> {
    let output = run(&["-o", "json"], &Launch::default())?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn run(arguments: &[&str], launch: &Launch) -> Result<Output> {
    let mut command = launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
    command.arg("probes").args(arguments).output().context("tcpstate probes")
}

/// The hook in use, by role.
fn chosen(roles: &Value) -> Result<BTreeMap<String, Value>> {
    let roles = roles.as_array().context("no roles")?.iter();
    roles.map(|role| Ok((role["role"].as_str().context("no name")?.to_owned(), role["chosen"].clone()))).collect()
}
