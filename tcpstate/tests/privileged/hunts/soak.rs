//! A program of another user's in which everything is ever new: code, threads, processes, peers, ports. `cargo xtask bench --only soak`
//! is the same for 15 minutes.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::scene::Leaky;
use crate::{
    recordings::Recorder,
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        leaks::report::Group,
        program::Program,
    },
    support::{launch::Launch, netns::Namespace, run::trials},
};

/// Nobody.
const UID: u32 = 65_534;
/// Sockets a second, twice as many as in the benchmark: what has a bound reaches it in a few seconds.
const RATE: &str = "600";
/// Longer than the test takes, seconds: the program ends with it.
const LONG: &str = "120";
/// Before the first reading of memory, and until the second.
const FIRST: Duration = Duration::from_secs(9);
const THEN: Duration = Duration::from_secs(8);
/// How often the second reading is taken anew: on a slow machine what has a bound takes longer to reach it.
const READINGS: u32 = 4;
/// Memory may grow by this much, KiB: the names of the last places come and go.
const SLACK_KIB: u64 = 12 << 10;
/// Sockets of somebody else, in the same network namespace.
const LEAKED: usize = 20;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::soak"; memory_does_not_grow]
}

pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/ever_new.c", &[NO_FRAME_POINTERS])
}

fn memory_does_not_grow() -> Result<()> {
    let namespace = Namespace::new()?;
    let netns = namespace.path().display().to_string();
    let filter = ["--older-than", "300ms", "--netns", &netns];
    let hunt = super::spawn(&[&["-o", "json", "--interval", "1s"], &filter[..]].concat())?;
    hunt.wait_until("the first report", |_| Ok(()))?;
    let mut recorder = Recorder::start(&filter)?;
    let leaky = Leaky::of(namespace.actor("ts-server")?, namespace.actor("ts-client")?)?;
    leaky.leak(LEAKED)?;

    let load = Launch { uid: Some(UID), ..namespace.launch() };
    let load = Program::launch(&load, &program()?, &[RATE, LONG])?;
    load.said("READY")?;
    let pids = [hunt.pid(), recorder.pid()];
    sleep(FIRST);
    let mut first = resident_kib(pids)?;
    for reading in 1..=READINGS {
        sleep(THEN);
        let then = resident_kib(pids)?;
        println!("leaks and record: {first:?} KiB, {then:?} KiB {} s later", THEN.as_secs());
        if first.iter().zip(then).all(|(&first, then)| then < first + SLACK_KIB) {
            break;
        }
        ensure!(reading < READINGS, "it goes on growing: {first:?} KiB, {then:?} KiB {} s later", THEN.as_secs());
        first = then;
    }

    // All of this was real, and what else leaks is as it would be without.
    let report = hunt.wait_until("the sockets of somebody else", |report| {
        of(&report.groups, leaky.server.pid).map(drop)?;
        ensure!(report.totals.closed_late > 1_000, "{} closed late", report.totals.closed_late);
        Ok(())
    })?;
    let group = of(&report.groups, leaky.server.pid)?;
    ensure!(group.sockets == LEAKED && group.verdict == "eof-unread", "{group:?}");
    let stack = group.opened.stack.as_ref().context("no stack")?;
    let accepts = |function: &Option<String>| function.as_deref().is_some_and(|name| name.contains("accept"));
    ensure!(stack.frames.iter().any(|frame| accepts(&frame.function)), "not in accept: {stack:?}");
    drop(load);
    hunt.finish()?;
    // This is about memory; a kernel that preempts BPF programs loses events under such a load where a processor is emulated.
    recorder.finish_under_load().map(drop)
}

/// The one group of a process.
fn of(groups: &[Group], pid: u32) -> Result<&Group> {
    let mut its = groups.iter().filter(|group| group.process.as_ref().is_some_and(|process| process.pid == pid));
    let group = its.next().context("no group of its own")?;
    ensure!(its.next().is_none(), "more than one group");
    Ok(group)
}

/// Resident memory of each process, KiB.
fn resident_kib(pids: [u32; 2]) -> Result<[u64; 2]> {
    let [one, other] = pids.map(resident_kib_of);
    Ok([one?, other?])
}

fn resident_kib_of(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
