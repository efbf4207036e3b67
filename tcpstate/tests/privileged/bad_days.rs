//! What cannot work is refused at once, by name; what goes wrong later leaves nothing behind.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    bpf::{held_in_kernel, known_to_kernel},
    launch::{Capability, Launch},
    pair::Setting,
    process::Actor,
    run::trials,
    tracer::{Ended, PATIENCE, Setup, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "bad_days";
        not_root, in_a_user_namespace, without_cap_bpf, without_cap_perfmon, with_only_what_it_takes, few_files, no_btf, no_tracefs,
        no_mount_left_behind, no_such_process, unparsable_arguments, buffer_is_rounded_up, second_instance, hung_up,
        killed,
    ]
}

fn not_root() -> Result<()> {
    let launch = Launch { uid: Some(65_534), ..Launch::default() };
    refused(&Setup::default().launch(launch), &["CAP_BPF", "CAP_PERFMON", "sudo"])
}

/// There root has every capability, and none that counts.
fn in_a_user_namespace() -> Result<()> {
    if fs::metadata("/proc/self/ns/user").is_err() {
        // A kernel without them.
        return Ok(());
    }
    let launch = Launch { new_users: true, ..Launch::default() };
    refused(&Setup::default().launch(launch), &["user namespace", "/proc/self/ns/user", "on the host"])
}

fn without_cap_bpf() -> Result<()> {
    let launch = Launch { without_capabilities: vec![Capability::Bpf, Capability::SysAdmin], ..Launch::default() };
    refused(&Setup::default().launch(launch), &["CAP_BPF"])
}

fn without_cap_perfmon() -> Result<()> {
    let launch = Launch { without_capabilities: vec![Capability::Perfmon, Capability::SysAdmin], ..Launch::default() };
    refused(&Setup::default().launch(launch), &["CAP_PERFMON"])
}

/// Without `CAP_SYS_ADMIN` it either works or says what it lacks; it never fails with a bare EPERM.
fn with_only_what_it_takes() -> Result<()> {
    let launch = Launch { without_capabilities: vec![Capability::SysAdmin], ..Launch::default() };
    let ended = Setup::new(["--duration", "200ms"]).launch(launch).run()?;
    let works = ended.status.success() && ended.stdout.contains("\"kind\":\"summary\"");
    ensure!(works || ended.stderr.contains("CAP_SYS_ADMIN"), "{}\n{}", ended.status, ended.stderr);
    Ok(())
}

/// As few as make the runtime panic, and as few as a snapshot fails with.
fn few_files() -> Result<()> {
    for most in [6, 64] {
        let launch = Launch { most_descriptors: Some(most), ..Launch::default() };
        refused(&Setup::default().launch(launch), &[&format!("only {most} files"), "ulimit -n"])?;
    }
    Ok(())
}

fn no_btf() -> Result<()> {
    let launch = Launch { emptied: vec![PathBuf::from("/sys/kernel/btf")], ..Launch::default() };
    refused(&Setup::default().launch(launch), &["BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"])
}

/// Where tracefs is not mounted the tracer has its own, which nobody else ever sees.
fn no_tracefs() -> Result<()> {
    let exists = |path: &str| fs::metadata(path).is_ok().then(|| PathBuf::from(path));
    let emptied = ["/sys/kernel/debug", "/sys/kernel/tracing"].into_iter().filter_map(exists).collect();
    let launch = Launch { emptied, ..Launch::default() };
    let witness = Actor::launch("ts-witness", &launch)?;
    let pair = Setting::Ipv4.pair()?;
    let tracer = Setup::new(["--pid", &pair.server.pid.to_string()]).launch(launch).start()?;
    let (of_tracer, of_witness) = (tracefs_mounts(tracer.pid())?, tracefs_mounts(witness.pid)?);
    ensure!(of_tracer == of_witness, "the tracer mounted tracefs for its whole process: {of_tracer}, {of_witness}");
    let connection = pair.open()?;
    pair.server.close(&connection.server)?;
    tracer.wait_closed(&[connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_server(&pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
}

/// On this machine as it is, too: its mounts are the same before, during and after a trace.
fn no_mount_left_behind() -> Result<()> {
    let mounts = || fs::read_to_string("/proc/self/mountinfo");
    let before = mounts()?;
    let tracer = Tracer::unfiltered()?;
    ensure!(mounts()? == before, "the tracer's mounts are everybody's:\n{}", mounts()?);
    tracer.finish()?;
    ensure!(mounts()? == before, "mounts were left behind:\n{}", mounts()?);
    Ok(())
}

fn tracefs_mounts(pid: u32) -> Result<usize> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    Ok(mounts.lines().filter(|line| line.contains(" - tracefs ")).count())
}

fn no_such_process() -> Result<()> {
    let actor = Actor::start("ts-gone")?;
    let pid = actor.pid.to_string();
    // Dropping it reaps it, and pids are handed out upwards, so this one is free.
    drop(actor);
    refused(&Setup::new(["--pid", &pid]), &[&pid])?;
    refused(&Setup::new(["--pid", "4294967295"]), &["4294967295"])
}

fn unparsable_arguments() -> Result<()> {
    for (arguments, named) in [
        (["--laddr", "10.0.0.0/33"], "10.0.0.0/33"),
        (["--raddr", "nowhere"], "nowhere"),
        (["--lport", "70000"], "70000"),
        (["--rport", "http"], "http"),
        (["--state", "HALF_OPEN"], "HALF_OPEN"),
        (["--state", "TIME_WAIT"], "TIME_WAIT"),
        (["--buffer", "lots"], "lots"),
        (["--buffer", "16G"], "too large"),
        (["--count", "0"], "0"),
        (["--duration", "5"], "5"),
        (["--netns", "no-such-namespace"], "no-such-namespace"),
        (["--cgroup", "no/such/cgroup"], "no/such/cgroup"),
        (["--comm", "longer-than-sixteen-bytes"], "longer-than-sixteen-bytes"),
        (["--time", "utc"], "utc"),
    ] {
        refused(&Setup::new(arguments), &[named]).with_context(|| arguments.join(" "))?;
    }
    refused(&Setup::new(["--children"]), &["--pid"])?;
    refused(&Setup::new(["-4", "-6"]), &["--ipv4", "--ipv6"])
}

/// To a power of two of at least one page, and it says so.
fn buffer_is_rounded_up() -> Result<()> {
    let trace = Tracer::start(["--buffer", "5000"])?.finish()?;
    ensure!(trace.probes["buffer_bytes"] == 8192, "{}", trace.probes);
    ensure!(trace.stderr.contains("5000") && trace.stderr.contains("8192"), "not said: {}", trace.stderr);
    let trace = Tracer::start(["--buffer", "8192"])?.finish()?;
    ensure!(trace.probes["buffer_bytes"] == 8192, "{}", trace.probes);
    ensure!(!trace.stderr.contains("rounded"), "said without need: {}", trace.stderr);
    Ok(())
}

/// Two tracers do not disturb each other, nor does the end of one the other.
fn second_instance() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let first = Tracer::unfiltered()?;
    let second = Tracer::unfiltered()?;
    let connection = pair.open()?;
    // By its end, for before 5.12 a connection has no cookie until it is accepted.
    first.wait_entered("ESTABLISHED", &[connection.client.cookie])?;
    first.finish()?;
    pair.server.close(&connection.server)?;
    pair.client.await_hangup(&connection.client)?;
    pair.client.close(&connection.client)?;
    second.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = second.finish()?;
    connection.check_client(&pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")?;
    connection.check_server(&pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
}

/// A terminal that goes away ends a trace, but not one that `nohup` keeps.
fn hung_up() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let start = |ignored| {
        let launch = Launch { ignores_hangup: Some(ignored), ..Launch::default() };
        Setup::default().launch(launch).start()
    };
    let (kept, ended) = (start(true)?, start(false)?);
    kept.signal(Signal::HUP)?;
    ended.signal(Signal::HUP)?;
    ended.trace()?;
    let connection = pair.open()?;
    kept.wait_entered("ESTABLISHED", &[connection.client.cookie])?;
    kept.finish().map(drop)
}

/// After SIGKILL the kernel has none of its programs, maps and links any more: nothing was pinned, nothing stays attached.
fn killed() -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let held = held_in_kernel(tracer.pid())?;
    for kind in ["prog_id", "map_id", "link_id"] {
        ensure!(held.iter().any(|(held, _)| held == kind), "no {kind} among {held:?}, so nothing was tried");
    }
    let missing = held.difference(&known_to_kernel()?).cloned().collect::<Vec<_>>();
    ensure!(missing.is_empty(), "held by the tracer but unknown to the kernel: {missing:?}");
    tracer.signal(Signal::KILL)?;
    let ended = tracer.end()?;
    ensure!(!ended.status.success(), "{}", ended.status);
    // The kernel frees programs and maps a grace period later.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: Vec<_> = held.intersection(&known_to_kernel()?).cloned().collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "still in the kernel: {left:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// It ends at once with an error that names `needles`, and writes nothing to standard output.
fn refused(setup: &Setup, needles: &[&str]) -> Result<()> {
    let Ended { status, stdout, stderr } = setup.run()?;
    ensure!(status.code().is_some_and(|code| code != 0), "{status}");
    ensure!(stdout.is_empty(), "standard output: {stdout}");
    ensure!(!stderr.contains("panicked"), "{stderr}");
    let message = stderr.strip_prefix("error: ").with_context(|| format!("no `error: ` in {stderr}"))?;
    ensure!(!message.starts_with(char::is_uppercase), "not lower-case: {stderr}");
    for needle in needles {
        ensure!(message.contains(needle), "does not name `{needle}`: {stderr}");
    }
    Ok(())
}
