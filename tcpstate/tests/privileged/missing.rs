//! What is missing is named as it is, with a remedy that works; and nothing is said to be complete that is not.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    launch::{Capability, Launch},
    pair::Setting,
    process::Actor,
    run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "missing";
        processes_that_are_refused, hidden_processes, nested_pids, traced_from_nested_pids, proc_of_another_namespace, no_proc, no_sys,
        no_tracefs,
    ]
}

/// Nobody.
const OTHER: u32 = 65_534;
const DAC: [Capability; 2] = [Capability::DacOverride, Capability::DacReadSearch];

fn tcpstate(launch: &Launch, arguments: &str) -> Result<Output> {
    let mut command = launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
    Ok(command.args(arguments.split_whitespace()).output()?)
}

fn states(launch: &Launch) -> Result<Value> {
    let output = tcpstate(launch, "states -o json --by process")?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It fails with an error that has this in it, and not that.
fn refused(output: &Output, has: &str, not: &str) -> Result<()> {
    let said = said(output);
    ensure!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    ensure!(said.contains(has) && (not.is_empty() || !said.contains(not)), "no `{has}`, or `{not}`: {said}");
    Ok(())
}

/// Runs a shell's words in namespaces that `unshare` makes; `$TCPSTATE` is the program.
fn unshared(options: &[&str], words: &str) -> Result<Output> {
    let mut command = Command::new("unshare");
    command.args(options).args(["sh", "-c", words]).env("TCPSTATE", env!("CARGO_BIN_EXE_tcpstate"));
    Ok(command.output()?)
}

/// Of a process of another user, whose descriptors are listed by who may read its directory and named by who may trace it.
fn processes_that_are_refused() -> Result<()> {
    let stranger = Actor::launch("ts-stranger", &Launch { uid: Some(OTHER), ..Launch::default() })?;
    stranger.listen((Ipv4Addr::LOCALHOST, 0))?;
    let all = [Capability::SysPtrace, DAC[0], DAC[1]];
    for (without, takes) in [
        (&all[..1], "it takes `CAP_SYS_PTRACE`"),
        (&all[1..], "it takes `CAP_DAC_READ_SEARCH`"),
        (&all[..], "it takes `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH`"),
    ] {
        let launch = Launch { without_capabilities: without.to_vec(), ..Launch::default() };
        let report = states(&launch)?;
        let gaps = &report["gaps"];
        ensure!(report["complete"] == false && gaps["processes"].as_u64() > Some(0), "{without:?}: {gaps}");
        ensure!(gaps["why"] == takes, "{without:?}: {gaps}");
        let found = report["groups"].to_string();
        ensure!(!found.contains("ts-stranger"), "{without:?}: it was looked into all the same: {found}");
        let text = tcpstate(&launch, "states")?;
        let text = String::from_utf8(text.stdout)?;
        ensure!(text.contains("could not be looked into") && text.contains(takes), "{without:?}: {text}");
        let doctor = String::from_utf8(tcpstate(&launch, "doctor")?.stdout)?;
        ensure!(doctor.contains(takes), "{without:?}: {doctor}");
    }
    let report = states(&Launch::default())?;
    ensure!(report["groups"].to_string().contains("ts-stranger"), "{}", report["groups"]);
    // Whom a security module keeps even from root is named, and what is held is not asked for.
    let gaps = &report["gaps"];
    ensure!(report["complete"] == (gaps["processes"] == 0 && gaps["hidden"].is_null()), "{gaps}");
    for pid in gaps["refused"].as_array().context("refused")? {
        let closed =
            fs::read_dir(format!("/proc/{pid}/fd")).is_err() || fs::metadata(format!("/proc/{pid}/ns/net")).is_err();
        ensure!(closed, "{pid} can be looked into");
        ensure!(gaps["why"].as_str().is_some_and(|why| why.contains("is held") && !why.contains("takes")), "{gaps}");
    }
    Ok(())
}

/// `hidepid` keeps those of other users from being listed.
fn hidden_processes() -> Result<()> {
    let stranger = Actor::launch("ts-stranger", &Launch { uid: Some(OTHER), ..Launch::default() })?;
    stranger.listen((Ipv4Addr::LOCALHOST, 0))?;
    let hiding = Launch { proc: Some("hidepid=2,gid=12345".to_owned()), ..Launch::default() };
    let without = Launch { without_capabilities: vec![Capability::SysPtrace], ..hiding.clone() };
    let report = states(&without)?;
    let gaps = &report["gaps"];
    let hidden = gaps["hidden"].as_str().with_context(|| format!("nothing is said to be hidden: {gaps}"))?;
    ensure!(report["complete"] == false, "{gaps}");
    for words in ["`hidepid=", "it takes `CAP_SYS_PTRACE`, or group 12345"] {
        ensure!(hidden.contains(words), "no `{words}`: {hidden}");
    }
    ensure!(!report["groups"].to_string().contains("ts-stranger"), "it was seen: {}", report["groups"]);
    let text = String::from_utf8(tcpstate(&without, "states")?.stdout)?;
    ensure!(text.contains(&format!("incomplete: {hidden}")), "{text}");
    // With the capability all are there, unless a security module keeps some back.
    let report = states(&hiding)?;
    ensure!(report["groups"].to_string().contains("ts-stranger"), "{}", report["groups"]);
    let hidden = &report["gaps"]["hidden"];
    ensure!(hidden.is_null() || hidden.to_string().contains("although `CAP_SYS_PTRACE` is held"), "{hidden}");
    Ok(())
}

/// What is outside is not seen, and no namespace further out can be entered from within.
fn nested_pids() -> Result<()> {
    let stranger = Actor::start("ts-stranger")?;
    stranger.listen((Ipv4Addr::LOCALHOST, 0))?;
    let nested = ["--pid", "--fork", "--mount-proc"];
    let output = unshared(&nested, "$TCPSTATE states -o json --by process")?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let gaps = &report["gaps"];
    ensure!(report["complete"] == false && !report["groups"].to_string().contains("ts-stranger"), "{report:#}");
    ensure!(gaps["hidden"].as_str().is_some_and(|why| why.contains("nested pid namespace")), "{gaps}");
    let doctor = String::from_utf8(unshared(&nested, "$TCPSTATE doctor")?.stdout)?;
    ensure!(doctor.contains("nested pid namespace") && !doctor.contains("it takes `CAP_SYS_PTRACE`"), "{doctor}");
    for command in ["leaks --once", "record -o /dev/null --overwrite", "run -- true", "trace --pid 1"] {
        refused(&unshared(&nested, &format!("$TCPSTATE {command}"))?, "run tcpstate on the host", "nsenter")?;
    }
    // Whose `/proc` is that of the initial one sees all, and is not known by the same ids.
    let output = unshared(&["--pid", "--fork"], "$TCPSTATE states -o json --by process")?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(report["gaps"]["hidden"].is_null(), "{}", report["gaps"]);
    ensure!(report["groups"].to_string().contains("ts-stranger"), "{}", report["groups"]);
    refused(&unshared(&["--pid", "--fork"], "$TCPSTATE leaks --once")?, "nested pid namespace", "nsenter")
}

/// The kernel's ids, and that is said.
fn traced_from_nested_pids() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_tcpstate")]);
    command.args(["trace", "-o", "json", "--comm", "ts-client", "--count", "1", "--duration", "20s"]);
    let tracer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Until it is attached and has ended, which one transition does.
    let mut opened = Vec::new();
    let mut tracer = Waiting(tracer);
    while tracer.0.try_wait()?.is_none() {
        let connection = pair.open()?;
        pair.client.reset(&connection.client)?;
        opened.push(connection);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = tracer.output()?;
    let shown = String::from_utf8(output.stdout.clone())?;
    let line =
        shown.lines().find(|line| line.contains("\"kind\":\"transition\"")).with_context(|| format!("{output:?}"))?;
    let line: Value = serde_json::from_str(line)?;
    ensure!(line["owner"]["pid"] == pair.client.pid, "{line} instead of {}", pair.client.pid);
    ensure!(said(&output).contains("process ids are the kernel's"), "{}", said(&output));
    Ok(())
}

/// Killed when dropped.
struct Waiting(Child);

impl Waiting {
    fn output(mut self) -> Result<Output> {
        use std::io::Read as _;
        let status = self.0.wait()?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().context("stdout")?.read_to_end(&mut stdout)?;
        self.0.stderr.take().context("stderr")?.read_to_end(&mut stderr)?;
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As after `nsenter --mount` into a container.
fn proc_of_another_namespace() -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", "echo ready; exec sleep 60"]);
    let mut container = Waiting(command.stdout(Stdio::piped()).spawn()?);
    let mut ready = [0; 6];
    std::io::Read::read_exact(container.0.stdout.as_mut().context("stdout")?, &mut ready)?;
    let inside = |words: &[&str]| -> Result<Output> {
        let mounts = format!("--mount=/proc/{}/ns/mnt", container.0.id());
        let mut command = Command::new("nsenter");
        Ok(command.arg(mounts).args(words).output()?)
    };
    let program = env!("CARGO_BIN_EXE_tcpstate");
    for arguments in [&["states"][..], &["leaks", "--once"], &["trace", "--duration", "1s"], &["run", "--", "true"]] {
        let output = inside(&[&[program], arguments].concat())?;
        refused(&output, "`/proc` is of a pid namespace that tcpstate is not in", "nested")?;
        refused(&output, "unshare --mount-proc tcpstate", "")?;
        let advised = inside(&[&["unshare", "--mount-proc", program], arguments].concat())?;
        ensure!(advised.status.success(), "{arguments:?} as advised: {advised:?}");
    }
    Ok(())
}

fn no_proc() -> Result<()> {
    let launch = Launch { emptied: vec![PathBuf::from("/proc")], ..Launch::default() };
    let remedy = "mount -t proc proc /proc";
    for arguments in ["states", "leaks --once", "trace --duration 100ms", "trace --pid 1", "doctor", "run -- true"] {
        refused(&tcpstate(&launch, arguments)?, &format!("there is no `/proc`: mount it with `{remedy}`"), "nested")?;
    }
    let words = format!("mount -t tmpfs none /proc && {remedy} && $TCPSTATE leaks --once -o json");
    let advised = unshared(&["--mount"], &words)?;
    ensure!(advised.status.success() && !advised.stdout.is_empty(), "as advised: {advised:?}");
    Ok(())
}

fn no_sys() -> Result<()> {
    let launch = Launch { emptied: vec![PathBuf::from("/sys")], ..Launch::default() };
    let remedy = "mount -t sysfs sysfs /sys";
    for arguments in ["leaks --once", "trace --duration 100ms", "probes", "doctor", "run -- true"] {
        let output = tcpstate(&launch, arguments)?;
        refused(&output, &format!("there is no `/sys`: mount it with `{remedy}`"), "boot a kernel")?;
    }
    let words = format!("mount -t tmpfs none /sys && {remedy} && $TCPSTATE trace --duration 100ms");
    let advised = unshared(&["--mount"], &words)?;
    ensure!(advised.status.success(), "as advised: {advised:?}");
    Ok(())
}

/// Nobody is sent for a privilege that does not help, nor to another kernel where it is a privilege.
fn no_tracefs() -> Result<()> {
    let tracefs = PathBuf::from("/sys/kernel/tracing");
    let debugfs = PathBuf::from("/sys/kernel/debug");
    let exists = |path: &PathBuf| path.is_dir().then(|| path.clone());
    let absent = Launch {
        emptied: [&tracefs, &debugfs].into_iter().filter_map(exists).collect(),
        without_capabilities: vec![Capability::SysAdmin],
        ..Launch::default()
    };
    let closed = Launch {
        emptied: exists(&debugfs).into_iter().collect(),
        closed: vec![tracefs],
        without_capabilities: DAC.to_vec(),
        ..Launch::default()
    };
    for (launch, has, not) in [
        (absent, "tracefs is not mounted and could not be mounted privately, which takes `CAP_SYS_ADMIN`", "CAP_DAC"),
        (closed, "`/sys/kernel/tracing` may not be entered, which takes `CAP_DAC_READ_SEARCH`", "CAP_SYS_ADMIN"),
    ] {
        let probes = tcpstate(&launch, "probes -o json")?;
        let report: Value = serde_json::from_slice(&probes.stdout).with_context(|| format!("{probes:?}"))?;
        let roles = report["roles"].as_array().context("roles")?;
        let hooks = roles.iter().flat_map(|role| role["hooks"].as_array().into_iter().flatten());
        let syscalls = hooks.filter(|attempt| attempt["hook"].to_string().contains("sys_exit_accept"));
        let reasons: Vec<_> = syscalls.map(|attempt| attempt["reason"].to_string()).collect();
        ensure!(!reasons.is_empty(), "{report:#}");
        ensure!(reasons.iter().all(|reason| reason.contains(has) && !reason.contains(not)), "{reasons:#?}");
        // Where it is the only hook, its refusal is what is lost for.
        let trace = tcpstate(&launch, "trace --duration 100ms")?;
        let said = said(&trace);
        ensure!(trace.status.success() && !said.contains("on this kernel"), "{trace:?}");
        let mut of_hooks = said.lines().filter(|line| line.contains("`tracepoint/syscalls"));
        ensure!(of_hooks.all(|line| line.contains(has)), "{said}");
    }
    Ok(())
}
