//! Filters by process take what a process holds, whoever opened it: passed on over a UNIX socket, or inherited.

use std::{
    net::Ipv4Addr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    hunts,
    scenarios::leaks::report::{Age, Group, LeftOut, Process, Stack},
    support::{
        bpf, clock,
        event::Owner,
        process::Actor,
        protocol::Socket,
        run::trials,
        story::Story,
        tracer::{PATIENCE, Tracer},
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "holders";
        passed_on, closed_at_once, inherited_before, inherited_meanwhile, listener_inherited, told_of_the_end, unread, by_name,
            of_the_opener, in_words,
    ]
}

/// A primary that accepts, a worker that is to have the sockets, and who connects.
struct Scene {
    primary: Actor,
    worker: Actor,
    client: Actor,
    listener: Socket,
}

impl Scene {
    fn new() -> Result<Self> {
        let (primary, worker) = (Actor::start("ts-primary")?, Actor::start("ts-worker")?);
        let listener = primary.listen((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { primary, worker, client: Actor::start("ts-client")?, listener })
    }

    /// A connection that the primary has accepted and passed on: both ends, of which the worker has the second.
    fn passed(&self) -> Result<(Socket, Socket)> {
        let peer = self.client.connect(self.listener.local)?;
        let accepted = self.primary.accept(&self.listener)?;
        Ok((peer, self.primary.hand_over(&accepted, &self.worker)?))
    }

    /// So many whose peer has closed.
    fn abandoned(&self, count: usize) -> Result<Vec<Socket>> {
        (0..count)
            .map(|_| {
                let (peer, held) = self.passed()?;
                self.client.close(&peer)?;
                self.worker.await_hangup(&held)?;
                Ok(held)
            })
            .collect()
    }
}

/// Who holds a socket, as a trace names it.
fn holder(actor: &Actor) -> Owner {
    Owner { pid: actor.pid, tid: actor.pid, comm: actor.comm.clone(), via: "snapshot".to_owned() }
}

/// Waits until a tracer has found who holds a socket.
fn wait_until_found(tracer: u32, socket: &Socket) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !bpf::is_held(tracer, socket.cookie)? {
        ensure!(Instant::now() < deadline, "nobody found {socket:?}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Traces a socket that a followed process has got and that others opened, until its end.
fn trace_to_the_end(
    tracer: Tracer,
    (client, peer): (&Actor, &Socket),
    (holder_of, held): (&Actor, &Socket),
) -> Result<()> {
    wait_until_found(tracer.pid(), held)?;
    client.close(peer)?;
    holder_of.await_hangup(held)?;
    holder_of.close(held)?;
    tracer.wait_closed(&[held.cookie])?;
    let trace = tracer.finish()?;
    Story::of(holder_of, held)?
        .older_than_tracer()
        .owned(holder(holder_of), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&trace)?;
    ensure!(trace.of(peer.cookie).is_empty(), "the client's socket was shown under the filter");
    Ok(())
}

/// What is passed to a followed process is traced from when that is found.
fn passed_on() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = Tracer::start(["--pid", &scene.worker.pid.to_string()])?;
    let (peer, held) = scene.passed()?;
    trace_to_the_end(tracer, (&scene.client, &peer), (&scene.worker, &held))
}

/// A close shows who holds a socket, however short that was.
fn closed_at_once() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = Tracer::start(["--pid", &scene.worker.pid.to_string()])?;
    let mut cookies = Vec::new();
    for _ in 0..5 {
        let (peer, held) = scene.passed()?;
        scene.worker.close(&held)?;
        scene.client.await_hangup(&peer)?;
        scene.client.close(&peer)?;
        cookies.push(held.cookie);
    }
    tracer.wait_until("the closes", |shown| {
        cookies.iter().all(|&cookie| shown.iter().any(|t| t.shows(cookie) && t.old == "FIN_WAIT2"))
    })?;
    let trace = tracer.finish()?;
    for cookie in cookies {
        let shown = trace.of(cookie);
        let first = shown.first().context("nothing is shown")?;
        ensure!(first.is("ESTABLISHED", "FIN_WAIT1") && first.in_old_ns.is_none(), "{first}");
        ensure!(shown.iter().all(|t| t.owner.as_ref() == Some(&holder(&scene.worker))), "{shown:?}");
    }
    Ok(())
}

/// Inherited before the trace: the parent has no descriptor any more.
fn inherited_before() -> Result<()> {
    let scene = Scene::new()?;
    let peer = scene.client.connect(scene.listener.local)?;
    let held = scene.primary.accept(&scene.listener)?;
    let heir = scene.primary.fork()?;
    scene.primary.close(&held)?;
    let tracer = Tracer::start(["--pid", &heir.pid.to_string()])?;
    trace_to_the_end(tracer, (&scene.client, &peer), (&heir, &held))
}

/// Inherited while `--comm` waits for whoever takes that name. By name it is not known who is going to accept from a listener, so the
/// stories of all that come in are kept, and who opened it is known.
fn inherited_meanwhile() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = Tracer::start(["--comm", "ts-heir"])?;
    let peer = scene.client.connect(scene.listener.local)?;
    let held = scene.primary.accept(&scene.listener)?;
    let heir = scene.primary.fork()?;
    scene.primary.close(&held)?;
    heir.set_name(b"ts-heir")?;
    wait_until_found(tracer.pid(), &held)?;
    scene.client.close(&peer)?;
    heir.await_hangup(&held)?;
    heir.close(&held)?;
    tracer.wait_closed(&[held.cookie])?;
    let trace = tracer.finish()?;
    let shown = trace.of(held.cookie);
    let states: Vec<_> = shown.iter().map(|t| (t.old.as_str(), t.new.as_str())).collect();
    ensure!(states == [("ESTABLISHED", "CLOSE_WAIT"), ("CLOSE_WAIT", "LAST_ACK"), ("LAST_ACK", "CLOSE")], "{states:?}");
    let opener = scene.primary.owner(&held, "accept");
    ensure!(shown.iter().all(|t| t.in_old_ns.is_some() && t.owner.as_ref() == Some(&opener)), "{shown:?}");
    Ok(())
}

/// Who inherits a listener may accept from it: what waits there is wanted.
fn listener_inherited() -> Result<()> {
    let scene = Scene::new()?;
    let heir = scene.primary.fork()?;
    let tracer = Tracer::start(["--pid", &heir.pid.to_string()])?;
    let peer = scene.client.connect(scene.listener.local)?;
    let accepted = heir.accept(&scene.listener)?;
    scene.client.close(&peer)?;
    heir.await_hangup(&accepted)?;
    heir.close(&accepted)?;
    tracer.wait_closed(&[accepted.cookie])?;
    let trace = tracer.finish()?;
    let last = trace.of(accepted.cookie).last().copied().context("nothing is shown")?.clone();
    ensure!(last.owner == Some(heir.owner(&accepted, "accept")), "{last}");
    Ok(())
}

const SOCKETS: usize = 3;

/// Of the only group, that there are so many sockets in it, all held by the worker.
fn check_held(groups: &[Group], scene: &Scene, verdict: &str) -> Result<Group> {
    let [group] = groups else { anyhow::bail!("not one group: {groups:?}") };
    ensure!(group.verdict == verdict && group.sockets == SOCKETS, "{group:?}");
    ensure!(group.process.as_ref().is_some_and(|process| process.pid == scene.worker.pid), "{group:?}");
    let [held] = &group.holders[..] else { anyhow::bail!("not one holder: {group:?}") };
    ensure!(held.pid == scene.worker.pid && held.sockets == SOCKETS, "{group:?}");
    Ok(group.clone())
}

/// Nobody who was followed opened them, and the report says who listens there.
fn check_left_out(group: &Group, scene: &Scene) -> Result<()> {
    let opened = &group.opened;
    ensure!(opened.known == "before-trace" && opened.by.is_none() && opened.stack.is_none(), "{opened:?}");
    ensure!(opened.port == Some(scene.listener.local.port()), "{opened:?}");
    let primary = Process { pid: scene.primary.pid, comm: Some("ts-primary".to_owned()) };
    ensure!(opened.left_out == Some(LeftOut { listener: Some(primary) }), "{opened:?}");
    Ok(())
}

/// Who opened them is known, with the code.
fn check_opener(group: &Group, scene: &Scene) -> Result<()> {
    let opened = &group.opened;
    ensure!(opened.known == "seen" && opened.left_out.is_none(), "{opened:?}");
    ensure!(opened.by.as_ref().is_some_and(|by| by.pid == scene.primary.pid), "{opened:?}");
    let stack = opened.stack.as_ref().context("no stack of who opened them")?;
    check_function(stack, "Sockets::accept")
}

fn check_function(stack: &Stack, function: &str) -> Result<()> {
    let mut names = stack.frames.iter().filter_map(|frame| frame.function.as_deref());
    ensure!(names.any(|name| name.contains(function)), "no `{function}`: {stack:?}");
    Ok(())
}

/// A followed process reads the end of sockets that it was passed: the code that was told is known, at once.
fn told_of_the_end() -> Result<()> {
    let scene = Scene::new()?;
    told(&scene, &["--pid", &scene.worker.pid.to_string()], check_left_out)
}

/// The same by the worker's name: who opened them was seen, but the code of a process that the filters leave out is not looked at.
fn by_name() -> Result<()> {
    told(&Scene::new()?, &["--comm", "ts-worker"], |group, scene| {
        let opened = &group.opened;
        ensure!(opened.known == "not-taken" && opened.left_out.is_none() && opened.stack.is_none(), "{opened:?}");
        ensure!(opened.by.as_ref().is_some_and(|by| by.pid == scene.primary.pid), "{opened:?}");
        Ok(())
    })
}

fn told(scene: &Scene, filter: &[&str], check: fn(&Group, &Scene) -> Result<()>) -> Result<()> {
    let hunt = hunts::json(&[&["--older-than", "1ms"], filter].concat())?;
    for held in scene.abandoned(SOCKETS)? {
        scene.worker.receive(&held, 0)?;
    }
    hunt.wait_until("the sockets and who was told", |report| {
        let group = check_held(&report.groups, scene, "eof-read")?;
        check(&group, scene)?;
        let [told] = &group.told[..] else { anyhow::bail!("not told at one place: {group:?}") };
        ensure!(told.sockets == SOCKETS, "{told:?}");
        ensure!(told.by.as_ref().is_some_and(|by| by.comm == "ts-worker"), "{told:?}");
        check_function(told.stack.as_ref().context("no stack of who was told")?, "Sockets::recv")
    })?;
    hunt.finish()?;
    Ok(())
}

/// What was found held before its peer closed has an exact age, though nobody reads it.
fn unread() -> Result<()> {
    let scene = Scene::new()?;
    let hunt = hunts::json(&["--older-than", "1ms", "--pid", &scene.worker.pid.to_string()])?;
    let passed = (0..SOCKETS).map(|_| scene.passed()).collect::<Result<Vec<_>>>()?;
    for (peer, held) in &passed {
        wait_until_found(hunt.pid(), held)?;
        scene.client.close(peer)?;
        scene.worker.await_hangup(held)?;
    }
    hunt.wait_until("the sockets with their ages", |report| {
        let group = check_held(&report.groups, &scene, "eof-unread")?;
        check_left_out(&group, &scene)?;
        let exact = |age: Age| age.at_most_ns == Some(age.at_least_ns);
        ensure!(group.examples.iter().all(|example| exact(example.age)), "{group:?}");
        Ok(())
    })?;
    // Its end is seen, too.
    for (_, held) in &passed {
        scene.worker.close(held)?;
    }
    hunt.wait_after(clock::monotonic_ns(), "no socket", |report| {
        ensure!(report.groups.is_empty() && report.totals.close_wait == 0, "{:?}", report.groups);
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// Who opened them sees them under the worker, with the code that accepted.
fn of_the_opener() -> Result<()> {
    let scene = Scene::new()?;
    let hunt = hunts::json(&["--older-than", "1ms", "--pid", &scene.primary.pid.to_string()])?;
    scene.abandoned(SOCKETS)?;
    hunt.wait_until("the sockets under who holds them", |report| {
        let group = check_held(&report.groups, &scene, "held-elsewhere")?;
        check_opener(&group, &scene)
    })?;
    hunt.finish()?;
    Ok(())
}

/// The text promises nothing that will not come, and names the command that shows the rest.
fn in_words() -> Result<()> {
    let scene = Scene::new()?;
    let pid = scene.worker.pid.to_string();
    let hunt = hunts::spawn(&["--older-than", "1ms", "--interval", "200ms", "--pid", &pid])?;
    hunt.wait_until_said("the first report", |said, _| !said.is_empty())?;
    for held in scene.abandoned(SOCKETS)? {
        scene.worker.receive(&held, 0)?;
    }
    let primary = scene.primary.pid;
    let port = scene.listener.local.port();
    let words = format!(
        "accepted on port {port}: before the trace, or by a process that the filters leave out: ts-primary[{primary}] listens \
         there, and `--pid {primary}` shows what it accepts"
    );
    hunt.wait_until_said("who listens there", |said, _| {
        said.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words)
    })?;
    let said = hunt.finish()?.stdout;
    for promise in ["will show where", "was not observed"] {
        ensure!(!said.contains(promise), "`{promise}`, which is not so: {said}");
    }
    Ok(())
}
