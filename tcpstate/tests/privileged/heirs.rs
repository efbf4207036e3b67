//! Processes that have ended, and others that have what they had: their sockets, or their number.

use std::{collections::BTreeSet, net::Ipv4Addr, thread::sleep, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    hunts,
    recordings::{Recorder, reported},
    scenarios::leaks::{
        hunt::{self, Hunt},
        report::{Group, Report},
    },
    support::{
        clock,
        process::Actor,
        protocol::{Request, Socket, Transport},
        run::trials,
        ss,
        tracer::Tracer,
    },
};

/// Longer than a test takes.
const LONG_MS: u64 = 120_000;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "heirs";
        of_a_listener, of_a_listener_whose_number_is_anothers, of_an_accepted_socket, workers_that_do_not_accept,
    ]
}

/// A process that is to live until the end of the test, whoever has forked it.
struct Sleeping(u32);

impl Sleeping {
    fn new(actor: &Actor) -> Result<Self> {
        drop(actor.submit(Request::Sleep { ms: LONG_MS })?);
        Ok(Self(actor.pid))
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.cast_signed()) {
            // One that has ended already says so, which is fine.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// `listen()`, `fork()`, and the parent has exited.
struct Family {
    root: Actor,
    parent: Actor,
    heir: Actor,
    listener: Socket,
    _heir: Sleeping,
}

impl Family {
    /// `before` is done while the parent lives.
    fn new(before: impl FnOnce(&Actor, &Socket) -> Result<()>) -> Result<Self> {
        let root = Actor::start("ts-root")?;
        let parent = root.fork()?;
        parent.set_name(b"ts-parent")?;
        let listener = parent.listen((Ipv4Addr::LOCALHOST, 0))?;
        before(&parent, &listener)?;
        let heir = parent.fork()?;
        heir.set_name(b"ts-heir")?;
        let sleeping = Sleeping::new(&heir)?;
        parent.exit()?;
        root.reap(&parent)?;
        Ok(Self { root, parent, heir, listener, _heir: sleeping })
    }

    fn port(&self) -> u16 {
        self.listener.local.port()
    }
}

/// Connects and closes so many times.
fn give_up(client: &Actor, listener: &Socket, count: usize) -> Result<()> {
    for peer in client.connect_many(listener.local, count)? {
        client.close(&peer)?;
    }
    Ok(())
}

/// What `ss` says waits to be accepted.
fn waiting(port: u16) -> Result<usize> {
    Ok(ss::with_local_port(port)?.iter().filter(|socket| socket.state == "CLOSE_WAIT").count())
}

fn only(report: &Report) -> Result<&Group> {
    let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
    Ok(group)
}

/// Connections that wait belong to who has the listener, from soon after its opener's end on, and never again to that one.
fn of_a_listener() -> Result<()> {
    let hunt = hunts::json(&["--older-than", "1ms", "--comm", "ts-parent", "--comm", "ts-heir"])?;
    let mut recorder = Recorder::start(&[])?;
    let tracer = Tracer::unfiltered()?;
    let client = Actor::start("ts-client")?;
    let family = Family::new(|_, listener| give_up(&client, listener, 2))?;
    let ended = clock::monotonic_ns();
    // Whether or not anybody has looked for the heir by then.
    give_up(&client, &family.listener, 1)?;
    let port = family.port();
    let heirs = |report: &Report| {
        let group = only(report)?;
        ensure!(group.verdict == "never-accepted" && group.sockets == waiting(port)?, "{group:?}");
        ensure!(group.process.as_ref().is_some_and(|process| process.pid == family.heir.pid), "{group:?}");
        let [backlog] = &group.backlogs[..] else { bail!("not one listener: {group:?}") };
        ensure!(backlog.holders.iter().map(|process| process.pid).eq([family.heir.pid]), "{group:?}");
        ensure!(group.asleep.iter().map(|asleep| asleep.pid).eq([family.heir.pid]), "{group:?}");
        Ok(())
    };
    hunt.wait_until("the heir", heirs)?;
    give_up(&client, &family.listener, 1)?;
    tracer.wait_until("a connection to the heir", |shown| {
        shown.iter().any(|t| t.local.port == port && t.new == "CLOSE_WAIT" && t.owner_pid() == Some(family.heir.pid))
    })?;
    hunt.wait_until("the last one, too", heirs)?;
    hunt.finish()?;
    let trace = tracer.finish()?;
    let later = trace.transitions.iter().filter(|t| t.local.port == port && t.mono_ns > ended);
    let wrong: Vec<_> = later.filter(|t| t.owner_pid().is_some_and(|pid| pid != family.heir.pid)).collect();
    ensure!(wrong.is_empty(), "of a process that has ended: {wrong:?}");

    let once = hunt::once(&["--lport".to_owned(), port.to_string()])?;
    ensure!(only(&once)?.process.as_ref().is_some_and(|process| process.pid == family.heir.pid), "{once:?}");
    recorder.finish()?;
    let port = port.to_string();
    let recorded = reported(&recorder, &format!("-o json --older-than 1ms --lport {port}"))?;
    heirs(&serde_json::from_str(&recorded)?).context("recorded")
}

/// The number of the process that has ended is an innocent one's: neither it nor its threads are shown.
fn of_a_listener_whose_number_is_anothers() -> Result<()> {
    let client = Actor::start("ts-client")?;
    let started: Hunt;
    let mut recorder = Recorder::start(&[])?;
    let tracer = Tracer::unfiltered()?;
    let family = {
        started = hunts::json(&["--older-than", "1ms", "--comm", "ts-parent", "--comm", "ts-heir"])?;
        Family::new(|_, listener| give_up(&client, listener, 2))?
    };
    let innocent = family.root.fork_as(family.parent.pid)?;
    ensure!(innocent.pid == family.parent.pid, "no number is given twice");
    innocent.set_name(b"ts-innocent")?;
    let _innocent = Sleeping::new(&innocent)?;
    let began = clock::monotonic_ns();
    give_up(&client, &family.listener, 2)?;
    let port = family.port();
    let heirs = |report: &Report| {
        let group = only(report)?;
        ensure!(group.sockets == 4, "{group:?}");
        ensure!(group.process.as_ref().is_some_and(|process| process.pid == family.heir.pid), "{group:?}");
        ensure!(group.asleep.iter().all(|asleep| asleep.pid == family.heir.pid), "{group:?}");
        Ok(())
    };
    started.wait_until("the heir", heirs)?;
    let said = started.finish()?.stdout;
    ensure!(!said.contains("ts-innocent"), "an innocent one is named: {said}");
    let trace = tracer.finish()?;
    let later = trace.transitions.iter().filter(|t| t.local.port == port && t.mono_ns > began);
    let wrong: Vec<_> = later.filter(|t| t.owner_pid() == Some(innocent.pid)).collect();
    ensure!(wrong.is_empty(), "of an innocent one: {wrong:?}");
    recorder.finish()?;
    let recorded = reported(&recorder, &format!("-o json --older-than 1ms --lport {port}"))?;
    ensure!(!recorded.contains("ts-innocent"), "an innocent one is named: {recorded}");
    heirs(&serde_json::from_str(&recorded)?).context("recorded")
}

/// Who opened a socket stays its opener after its end, by its own name, also when its number is that of another one that leaks, too.
fn of_an_accepted_socket() -> Result<()> {
    let hunt = hunts::json(&["--older-than", "1ms", "--comm", "ts-parent", "--comm", "ts-innocent"])?;
    let client = Actor::start("ts-client")?;
    let mut peer = None;
    let family = Family::new(|parent, listener| {
        peer = Some(client.connect(listener.local)?);
        parent.accept(listener)?;
        Ok(())
    })?;
    let innocent = family.root.fork_as(family.parent.pid)?;
    innocent.set_name(b"ts-innocent")?;
    let elsewhere = client.listen((Ipv4Addr::LOCALHOST, 0))?;
    innocent.connect(elsewhere.local)?;
    client.close(&client.accept(&elsewhere)?)?;
    let _innocent = Sleeping::new(&innocent)?;
    client.close(&peer.context("no connection")?)?;
    hunt.wait_until("one socket each", |report| {
        let [first, second] = &report.groups[..] else { bail!("not two groups: {:?}", report.groups) };
        let of_heir = |group: &Group| group.process.as_ref().is_some_and(|process| process.pid == family.heir.pid);
        let (inherited, own) = if of_heir(first) { (first, second) } else { (second, first) };
        ensure!(of_heir(inherited) && inherited.verdict == "held-elsewhere", "{inherited:?}");
        let opener = inherited.opened.by.as_ref().context("no opener")?;
        ensure!((opener.pid, opener.comm.as_deref()) == (family.parent.pid, Some("ts-parent")), "{inherited:?}");
        ensure!(inherited.asleep.iter().all(|asleep| asleep.pid == family.heir.pid), "{inherited:?}");
        let process = own.process.as_ref().context("nobody's")?;
        ensure!((process.pid, process.comm.as_deref()) == (innocent.pid, Some("ts-innocent")), "{own:?}");
        ensure!(own.sockets == 1, "{own:?}");
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// A master listens, its workers should accept and do not: they are named, whichever of them is asked for.
fn workers_that_do_not_accept() -> Result<()> {
    let (master, client) = (Actor::start("ts-master")?, Actor::start("ts-client")?);
    let listener = master.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Tcp, false)?;
    let workers = [master.fork()?, master.fork()?];
    let _sleeping: Vec<Sleeping> = workers.iter().map(Sleeping::new).collect::<Result<_>>()?;
    let port = listener.local.port().to_string();
    let filters = [("--lport", port.clone()), ("--pid", master.pid.to_string()), ("--pid", workers[1].pid.to_string())];
    let hunts: Vec<Hunt> = filters
        .iter()
        .map(|(filter, value)| hunts::json(&["--older-than", "1ms", filter, value]))
        .collect::<Result<_>>()?;
    give_up(&client, &listener, 3)?;
    sleep(Duration::from_millis(10));
    ensure!(waiting(listener.local.port())? == 3, "not all wait");
    let all: BTreeSet<u32> = workers.iter().map(|worker| worker.pid).chain([master.pid]).collect();
    for (hunt, filter) in hunts.into_iter().zip(&filters) {
        hunt.wait_until("the workers", |report| {
            let group = only(report).with_context(|| format!("{filter:?}"))?;
            ensure!(group.verdict == "never-accepted" && group.sockets == 3, "{filter:?}: {group:?}");
            let [backlog] = &group.backlogs[..] else { bail!("not one listener: {group:?}") };
            let holders: BTreeSet<u32> = backlog.holders.iter().map(|process| process.pid).collect();
            ensure!(holders == all && backlog.waiting == 3, "{filter:?}: {group:?}");
            let asleep: BTreeSet<u32> = group.asleep.iter().map(|asleep| asleep.pid).collect();
            ensure!(asleep == all, "{filter:?}: {group:?}");
            Ok(())
        })?;
        hunt.finish()?;
    }
    Ok(())
}
