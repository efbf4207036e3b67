//! Threads that do not sleep: busy ones, stopped ones, frozen ones.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::scene::Leaky;
use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        leaks::report::{Group, Report, Threads},
        peers::{localhost, visit_often},
        program::Program,
    },
    support::{
        cgroup::{Cgroup, cgroup2_mount},
        clock,
        run::trials,
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::awake"; spinning, stopped, frozen]
}

const SOCKETS: usize = 3;

/// Watches for `EPOLLRDHUP` and does nothing about it.
pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/spinner.c", &[NO_FRAME_POINTERS])
}

/// The one group, and what the threads of its process do.
fn of_group(report: &Report) -> Result<(&Group, &Threads)> {
    let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
    ensure!(group.verdict == "eof-unread" && group.sockets == SOCKETS, "{group:?}");
    let [threads] = &group.threads[..] else { bail!("not of one process: {group:?}") };
    Ok((group, threads))
}

/// A thread that uses up a CPU, and the descriptor that keeps it from sleeping.
fn spinning() -> Result<()> {
    let program = Program::start(&program()?, &["127.0.0.1"])?;
    let server = localhost(program.port()?);
    let hunt = super::json(&["--older-than", "1ms", "--lport", &server.port().to_string()])?;
    visit_often(server, SOCKETS, b"", 0)?;
    let report = hunt.wait_until("a thread that spins", |report| {
        let (group, threads) = of_group(report)?;
        let busiest = threads.busiest.as_ref().with_context(|| format!("nobody is busy: {group:?}"))?;
        ensure!(busiest.tid == program.pid && busiest.comm == "spinner", "another: {group:?}");
        ensure!(busiest.cpu_permille >= 500 && busiest.cpu_permille <= 1000, "not busy: {group:?}");
        // As of the last snapshot, which may be older than the last socket.
        let woken_by = threads.woken_by.as_ref().with_context(|| format!("why is not known: {group:?}"))?;
        ensure!(woken_by.sockets == SOCKETS, "not all of them: {group:?}");
        Ok(())
    })?;
    let (group, threads) = of_group(&report)?;
    let woken_by = threads.woken_by.as_ref().context("just seen")?;
    let epoll = fs::read_link(format!("/proc/{}/fd/{}", program.pid, woken_by.epoll))?;
    ensure!(epoll.as_os_str() == "anon_inode:[eventpoll]", "{group:?}");
    for says in [
        format!("; thread spinner[{}] used ", program.pid),
        format!("and epoll (descriptor {}) watches {SOCKETS} leaked sockets for the end", woken_by.epoll),
    ] {
        ensure!(group.evidence.contains(&says), "not `{says}`: {}", group.evidence);
    }
    ensure!(group.advice.contains("EPOLLRDHUP or EPOLLIN) again and again"), "{}", group.advice);
    hunt.finish()?;
    Ok(())
}

/// Waits for a report in which threads of the server are `held`, and none is said to sleep.
fn held_back(leaky: &Leaky, says: &str, held: impl Fn(&Threads) -> u64) -> Result<()> {
    let hunt = super::json(&["--older-than", "1ms", "--lport", &leaky.port()])?;
    let after = clock::monotonic_ns();
    let report = hunt.wait_after(after, says, |report| {
        let (group, threads) = of_group(report)?;
        ensure!(held(threads) > 0 && threads.running == 0, "not {says}: {group:?}");
        ensure!(group.asleep.is_empty(), "asleep, and not {says}: {group:?}");
        Ok(())
    })?;
    let (group, _) = of_group(&report)?;
    ensure!(group.advice.contains("none of its threads can go on"), "{}", group.advice);
    ensure!(group.evidence.contains(says) && !group.evidence.contains("asleep"), "{}", group.evidence);
    hunt.finish()?;
    Ok(())
}

/// A stopped thread is in the system call that it was stopped in, and does not wait there.
fn stopped() -> Result<()> {
    let leaky = Leaky::new()?;
    leaky.leak(SOCKETS)?;
    let pid = Pid::from_raw(leaky.server.pid.cast_signed()).context("pid of the server")?;
    kill_process(pid, Signal::STOP)?;
    let result = held_back(&leaky, "stopped by a signal (SIGSTOP or the like)", |threads| threads.stopped);
    kill_process(pid, Signal::CONT)?;
    result
}

/// As a container that is paused.
fn frozen() -> Result<()> {
    // Dropped last, when its process is gone.
    let cgroup = Cgroup::new(&cgroup2_mount()?.join(format!("ts-frozen-{}", std::process::id())))?;
    let leaky = Leaky::new()?;
    leaky.leak(SOCKETS)?;
    cgroup.take(&leaky.server)?;
    cgroup.set_frozen(true)?;
    let result = held_back(&leaky, "frozen with their cgroup (a paused container)", |threads| threads.frozen);
    cgroup.set_frozen(false)?;
    result
}
