//! The tracer: what it keeps once it is attached, and what its children and its command have.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::CapabilitySet,
};
use tcpstate::confinement::{BROKER_CAPABILITIES, STRANGER};

use super::{broker, process::Process, status::Status, worker};
use crate::support::{
    launch::{Capability, Launch},
    run::trials,
    tracer::{PATIENCE, Setup},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "confinement::tracer";
        trace, leaks, its_own_children, children_end_with_it, record, record_in_anothers_directory, run, children, of_another_user,
        calls_are_lacking, as_a_service_and_in_a_container,
    ]
}

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// What a hunt uses.
const USED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::KILL);
/// What it has besides for brokers and workers.
const HANDED_ON: CapabilitySet = CapabilitySet::CHECKPOINT_RESTORE
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SYS_CHROOT);

/// Killed when dropped.
struct Running(Child);

impl Running {
    /// A command that says something on standard output once it is attached.
    fn start(launch: &Launch, arguments: &[&str]) -> Result<Self> {
        let mut command = launch.command(TCPSTATE)?;
        let mut running = Self(command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(running.0.stdout.as_mut().context("stdout")?).read_line(&mut line)?;
        if line.is_empty() {
            let mut said = String::new();
            running.0.stderr.take().context("stderr")?.read_to_string(&mut said)?;
            anyhow::bail!("{arguments:?} said nothing: {said}");
        }
        Ok(running)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every thread has these, or none at all; the first one has them. The one that starts a command gives its own up a moment later.
fn keeps(pid: u32, effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match keeps_now(pid, effective, permitted) {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

fn keeps_now(pid: u32, effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let threads = Status::of_threads(pid)?;
    ensure!(threads.iter().any(|(tid, _)| *tid == pid), "no thread");
    for (tid, status) in threads {
        let name = status.get("Name")?;
        let sets = [status.capabilities("CapEff")?, status.capabilities("CapPrm")?];
        let idle = tid != pid && sets == [CapabilitySet::empty(); 2];
        ensure!(idle || sets == [effective, permitted], "{name} has {sets:?} instead of {effective:?}, {permitted:?}");
        let bounding = status.capabilities("CapBnd")?;
        ensure!(bounding == permitted || idle && bounding.is_empty(), "{name} may gain {bounding:?}");
        ensure!(status.get("NoNewPrivs")? == "1" && status.get("Seccomp")? == "2", "{name} may gain privileges");
    }
    Ok(())
}

fn trace() -> Result<()> {
    let tracer = Setup::new(["--comm", "nobody-has-it"]).start()?;
    keeps(tracer.pid(), CapabilitySet::BPF, CapabilitySet::BPF)
}

fn leaks() -> Result<()> {
    let arguments = ["leaks", "-o", "json", "--interval", "300ms"];
    let tracer = Running::start(&Launch::default(), &arguments)?;
    keeps(tracer.pid(), USED, USED | HANDED_ON)?;
    // Names of kernel functions are read when they are wanted.
    let tracer = Running::start(&Launch::default(), &[&arguments[..], &["--kernel-stack"]].concat())?;
    keeps(tracer.pid(), USED | CapabilitySet::SYSLOG, USED | HANDED_ON | CapabilitySet::SYSLOG)
}

/// The broker and the worker of a tracer, once both are confined.
fn reading_children(tracer: u32) -> Result<[u32; 2]> {
    let named = |name: &str| -> Result<Option<u32>> {
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
            let Ok(status) = Status::of(pid) else { continue };
            if status.get("PPid")? == tracer.to_string()
                && status.get("Name")? == name
                && status.ids("Uid")? == [STRANGER; 4]
            {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    };
    wait_until("broker and worker", || Ok(named("tcpstate-broker")?.is_some() && named("tcpstate-worker")?.is_some()))?;
    // The last thing that each does is to filter its system calls.
    sleep(Duration::from_millis(200));
    Ok([named("tcpstate-broker")?.context("no broker")?, named("tcpstate-worker")?.context("no worker")?])
}

fn its_own_children() -> Result<()> {
    let tracer = Running::start(&Launch::default(), &["leaks", "-o", "json", "--interval", "300ms"])?;
    let [broker, worker] = reading_children(tracer.pid())?;
    broker::is_confined(broker)?;
    worker::is_confined(worker)?;
    for child in [broker, worker] {
        let mut descriptors = Vec::new();
        for entry in fs::read_dir(format!("/proc/{child}/fd"))? {
            descriptors.push(fs::read_link(entry?.path())?.display().to_string());
        }
        // The broker may have read of processes of others meanwhile.
        descriptors.retain(|one| !one.starts_with("/proc/") || !one.ends_with("/mem"));
        let others = descriptors.iter().filter(|one| !one.starts_with("socket:") && *one != "/dev/null").count();
        ensure!(others == 0 && descriptors.len() == 4, "{descriptors:?}");
        let environment = fs::read(format!("/proc/{child}/environ"))?;
        ensure!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
    }
    Ok(())
}

/// However it ends, and though they do nothing by themselves any more.
fn children_end_with_it() -> Result<()> {
    let mut tracer = Running::start(&Launch::default(), &["leaks", "-o", "json", "--interval", "300ms"])?;
    let children = reading_children(tracer.pid())?;
    for child in children {
        kill_process(Pid::from_raw(child.cast_signed()).context("pid")?, Signal::STOP)?;
    }
    tracer.0.kill()?;
    tracer.0.wait()?;
    let is_gone = |pid: u32| -> Result<bool> {
        match Status::of(pid) {
            Ok(status) => Ok(status.get("State")?.starts_with('Z')),
            Err(_) => Ok(true),
        }
    };
    wait_until("their end", || Ok(is_gone(children[0])? && is_gone(children[1])?))
}

/// A recorder that has begun.
fn recorder(path: &Path, arguments: &[&str]) -> Result<Running> {
    let mut command = Command::new(TCPSTATE);
    command.args(["record", "-o"]).arg(path).args(arguments).stdout(Stdio::null()).stderr(Stdio::inherit());
    let running = Running(command.spawn()?);
    wait_until("the recording", || Ok(fs::metadata(path).is_ok_and(|file| file.len() > 1000)))?;
    Ok(running)
}

fn wait_until(what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn record() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let recorder = recorder(&directory.path().join("a.tcps"), &[])?;
    keeps(recorder.pid(), USED, USED | HANDED_ON)
}

/// Where a file can be made only by who may write everywhere.
fn record_in_anothers_directory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    chown(directory.path(), Some(1000), Some(1000))?;
    let path = directory.path().join("a.tcps");
    let recorder = recorder(&path, &["--max-size", "1K", "--interval", "100ms"])?;
    let most = CapabilitySet::DAC_OVERRIDE;
    keeps(recorder.pid(), USED | most, USED | HANDED_ON | most)?;
    wait_until("another file", || Ok(directory.path().join("a.tcps.2").exists()))
}

/// The command has what the tracer was started with.
fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [told, go] = ["told", "go"].map(|name| directory.path().join(name));
    let words = "cat /proc/self/status > $0.part && mv $0.part $0; for i in $(seq 1000); do [ -e $1 ] && exit; sleep 0.01; done";
    let mut command = Command::new(TCPSTATE);
    command.args(["run", "--", "sh", "-c", words]).args([&told, &go]).stderr(Stdio::null());
    let running = Running(command.spawn()?);
    wait_until("the command", || Ok(told.exists()))?;
    let ours = fs::read_to_string("/proc/self/status")?;
    let its = fs::read_to_string(&told)?;
    for name in
        ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:"]
    {
        let line = |status: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        ensure!(line(&its).is_some() && line(&its) == line(&ours), "{:?} instead of {:?}", line(&its), line(&ours));
    }
    keeps(running.pid(), USED, USED | HANDED_ON)?;
    fs::write(&go, "")?;
    let mut running = running;
    ensure!(running.0.wait()?.success());
    Ok(())
}

/// Brokers and workers that a tracer starts later have what they need.
fn children() -> Result<()> {
    let worker = Process::start("tracer", &["become", "worker"])?.becomes()?;
    let status = Status::of(worker.pid())?;
    ensure!(status.ids("Uid")? == [STRANGER; 4] && status.capabilities("CapPrm")?.is_empty());
    ensure!(worker.confined.seccomp && worker.confined.stranger && worker.confined.rootless, "{:?}", worker.confined);
    ensure!(worker.go()?.done());
    let broker = Process::start("tracer", &["become", "broker", "maps", "1"])?.becomes()?;
    let status = Status::of(broker.pid())?;
    ensure!(status.ids("Uid")? == [STRANGER; 4] && status.capabilities("CapEff")? == BROKER_CAPABILITIES);
    Ok(())
}

/// Who is not root, and has capabilities all the same, passes them on, too.
fn of_another_user() -> Result<()> {
    let held = [Capability::Bpf, Capability::Perfmon, Capability::SysPtrace, Capability::DacReadSearch];
    let launch = Launch { uid: Some(65_534), ambient: held.to_vec(), ..Launch::default() };
    let most = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    let tracer = Running::start(&launch, &["leaks", "-o", "json", "--interval", "300ms"])?;
    let status = Status::of(tracer.pid())?;
    for set in ["CapPrm", "CapEff"] {
        ensure!(status.capabilities(set)? == most | CapabilitySet::BPF, "{set}: {}", status.get(set)?);
    }
    ensure!(status.get("NoNewPrivs")? == "1" && status.get("Seccomp")? == "2");
    let own = std::process::id().to_string();
    let broker = Process::launch(&launch, "tracer", &["become", "broker", "maps", &own])?.becomes()?;
    let status = Status::of(broker.pid())?;
    ensure!(status.ids("Uid")? == [65_534; 4] && status.capabilities("CapEff")? == most, "{}", status.get("CapEff")?);
    let end = broker.go()?;
    ensure!(end.done(), "{end:?}");
    let worker = Process::launch(&launch, "tracer", &["become", "worker", "fork"])?.becomes()?;
    ensure!(Status::of(worker.pid())?.capabilities("CapPrm")?.is_empty());
    ensure!(worker.go()?.killed_by(libc::SIGSYS));
    Ok(())
}

const UNIT: &str = include_str!("../../../../packaging/tcpstate-record.service");

/// The capabilities of these names.
fn capabilities<'a>(names: impl Iterator<Item = &'a str>) -> Result<CapabilitySet> {
    names.map(|name| CapabilitySet::from_name(name.trim_start_matches("CAP_")).context(name.to_owned())).collect()
}

/// What the unit and the container of the documents give is enough, and all of it is named.
fn as_a_service_and_in_a_container() -> Result<()> {
    let sets = UNIT.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let unit = capabilities(sets.flat_map(str::split_whitespace))?;
    let commands = tcpstate_documents::commands().filter(|command| command.text.starts_with("docker run "));
    let container = commands.map(|command| {
        let words: Vec<String> = command.text.split_whitespace().map(str::to_owned).collect();
        capabilities(words.windows(2).filter(|pair| pair[0] == "--cap-add").map(|pair| &*pair[1]))
    });
    let container = container.collect::<Result<Vec<_>>>()?;
    ensure!(container == [unit], "{container:?} in the container, {unit:?} in the unit");
    let launch = Launch { only_capabilities: Some(unit.bits()), no_new_privileges: true, ..Launch::default() };
    let tracer = Running::start(&launch, &["leaks", "-o", "json", "--interval", "300ms"])?;
    keeps(tracer.pid(), USED, USED | HANDED_ON)?;
    let [broker, worker] = reading_children(tracer.pid())?;
    broker::is_confined(broker)?;
    worker::is_confined(worker)?;
    drop(tracer);
    let output = launch.command(TCPSTATE)?.args(["doctor", "-o", "json"]).output()?;
    let doctor: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let sandbox = &doctor["machine"]["sandbox"];
    ensure!(["seccomp", "own_user", "empty_root"].iter().all(|part| sandbox[part] == true), "{sandbox}");
    ensure!(sandbox["landlock"] == worker::kernel_has_landlock() && sandbox["why_not"].is_null(), "{sandbox}");
    let said = doctor["findings"].as_array().context("findings")?.iter().any(|finding| finding["kind"] == "sandbox");
    ensure!(said == (sandbox["complete"] == false), "{}", doctor["findings"]);
    Ok(())
}

/// For the tracer itself, what it does not need is as if there were no such call.
fn calls_are_lacking() -> Result<()> {
    let mut compared = 0;
    for (name, number, arguments) in [
        ("ptrace", libc::SYS_ptrace, &["-1"][..]),
        ("process_vm_writev", libc::SYS_process_vm_writev, &[]),
        ("mount", libc::SYS_mount, &[]),
        ("unshare", libc::SYS_unshare, &["0"]),
        ("setns into a mount namespace", libc::SYS_setns, &["-1", "131072"]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, &["-1"]),
        ("perf_event_open", libc::SYS_perf_event_open, &[]),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[]),
        ("init_module", libc::SYS_init_module, &[]),
        ("kexec_load", libc::SYS_kexec_load, &["0", "1000"]),
        ("loading of BPF programs", libc::SYS_bpf, &["5"]),
        ("a map", libc::SYS_bpf, &["0"]),
        ("a socket of the Internet", libc::SYS_socket, &["2", "1", "0"]),
        ("connect", libc::SYS_connect, &["-1"]),
        ("TIOCSTI", libc::SYS_ioctl, &["-1", "21522"]),
        ("keyctl", libc::SYS_keyctl, &["-1"]),
        ("clock_settime", libc::SYS_clock_settime, &["-1"]),
        ("reboot", libc::SYS_reboot, &[]),
    ] {
        let number = number.to_string();
        let action = [&["errno", &*number][..], arguments].concat();
        let lacking = |role| Ok::<_, anyhow::Error>(Process::start(role, &action)?.go()?.refused());
        ensure!(lacking("tracer")?, "{name} is to be had");
        // Some kernels have no keys, and no `kexec`.
        compared += usize::from(!lacking("anybody")?);
    }
    ensure!(compared > 12, "who is not confined has {compared} of them");
    Ok(())
}
