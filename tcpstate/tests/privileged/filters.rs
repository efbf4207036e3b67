//! Each filter shows exactly what a second tracer without filters says that it should.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    cgroup::{Cgroup, cgroup2_mount},
    event::Transition,
    medley::{APART, Medley},
    process::Actor,
    run::trials,
    tracer::{Setup, Trace, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["filters"; processes, namespaces, ports, addresses, families, states, combined, cgroup, children,
        forked_meanwhile]
}

/// What a filter is to let through.
type Wanted<'a> = Box<dyn Fn(&Transition) -> bool + 'a>;

fn processes() -> Result<()> {
    let medley = Medley::new()?;
    let pid = medley.servers[0].pid;
    let pids = [medley.servers[1].pid, medley.clients[0].pid];
    compare(
        &medley,
        vec![
            (format!("--pid {pid}"), Box::new(move |t| t.owner_pid() == Some(pid))),
            (
                format!("--pid {} --pid {}", pids[0], pids[1]),
                Box::new(move |t| t.owner_pid().is_some_and(|pid| pids.contains(&pid))),
            ),
            (
                "--comm ts-server-two".to_owned(),
                Box::new(|t| t.owner.as_ref().is_some_and(|owner| owner.comm == "ts-server-two")),
            ),
        ],
    )
}

/// By path, by inode and by name.
fn namespaces() -> Result<()> {
    let medley = Medley::new()?;
    let (here, there) = (medley.servers[0].netns()?, medley.elsewhere.inode);
    let name = format!("ts-{}", std::process::id());
    let _named = medley.elsewhere.named(&name)?;
    compare(
        &medley,
        vec![
            (format!("--netns {}", medley.elsewhere.path().display()), Box::new(|t| t.netns == there)),
            (format!("--netns {here}"), Box::new(|t| t.netns == here)),
            (format!("--netns {name}"), Box::new(|t| t.netns == there)),
        ],
    )
}

fn ports() -> Result<()> {
    let medley = Medley::new()?;
    let [one, two, _, four, ..] = medley.listeners.iter().map(|listener| listener.local.port()).collect::<Vec<_>>()[..]
    else {
        bail!("too few listeners");
    };
    compare(
        &medley,
        vec![
            (format!("--lport {one}"), Box::new(move |t| t.local.port == one)),
            (format!("--lport {one},{four}"), Box::new(move |t| [one, four].contains(&t.local.port))),
            (format!("--rport {two}"), Box::new(move |t| t.remote.port == two)),
        ],
    )
}

/// An IPv4 block also holds the IPv4 addresses of IPv6 sockets.
fn addresses() -> Result<()> {
    let below = |address: IpAddr, limit: Ipv4Addr| matches!(address.to_canonical(), IpAddr::V4(v4) if v4 < limit);
    compare(
        &Medley::new()?,
        vec![
            (format!("--laddr {APART}"), Box::new(|t| t.local.addr == IpAddr::from(APART))),
            ("--laddr 127.0.0.0/21".to_owned(), Box::new(|t| below(t.local.addr, Ipv4Addr::new(127, 0, 8, 0)))),
            ("--laddr 127.0.0.0/22".to_owned(), Box::new(|t| below(t.local.addr, Ipv4Addr::new(127, 0, 4, 0)))),
            ("--raddr 127.0.4.0/22".to_owned(), Box::new(|t| t.remote.addr == IpAddr::from(APART))),
            ("--raddr ::1".to_owned(), Box::new(|t| t.remote.addr == IpAddr::from(Ipv6Addr::LOCALHOST))),
        ],
    )
}

/// IPv6 includes the sockets that carry IPv4.
fn families() -> Result<()> {
    compare(
        &Medley::new()?,
        vec![("-4".to_owned(), Box::new(|t| t.family == "inet")), ("-6".to_owned(), Box::new(|t| t.family == "inet6"))],
    )
}

fn states() -> Result<()> {
    let either = |state: &str| matches!(state, "SYN_SENT" | "LAST_ACK");
    compare(
        &Medley::new()?,
        vec![
            ("--state CLOSE_WAIT".to_owned(), Box::new(|t| t.old == "CLOSE_WAIT" || t.new == "CLOSE_WAIT")),
            ("--state syn-sent,last-ack".to_owned(), Box::new(move |t| either(&t.old) || either(&t.new))),
        ],
    )
}

fn combined() -> Result<()> {
    let medley = Medley::new()?;
    let pid = medley.servers[1].pid;
    let wanted = move |t: &Transition| {
        t.owner_pid() == Some(pid)
            && t.family == "inet"
            && (t.old == "CLOSE_WAIT" || t.new == "CLOSE_WAIT")
            && t.remote.addr.to_canonical().is_loopback()
    };
    compare(
        &medley,
        vec![(format!("--pid {pid} -4 --state close-wait --raddr 127.0.0.0/8"), Box::new(wanted) as Wanted<'_>)],
    )
}

/// A cgroup's filter takes the cgroups below it along.
fn cgroup() -> Result<()> {
    let outer = Cgroup::new(&cgroup2_mount()?.join(format!("ts-{}", std::process::id())))?;
    let inner = Cgroup::new(&outer.0.join("inner"))?;
    let medley = Medley::new()?;
    // A listener's children are of its cgroup, so these have to move before they listen.
    let (server, client) = (Actor::start("ts-grouped")?, Actor::start("ts-in-group")?);
    outer.take(&server)?;
    inner.take(&client)?;
    let ids = [fs::metadata(&outer.0)?.ino(), fs::metadata(&inner.0)?.ino()];
    let [all, filtered] = two_tracers(&["--cgroup", &outer.0.to_string_lossy()])?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let socket = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    server.close(&accepted)?;
    client.await_hangup(&socket)?;
    client.close(&socket)?;
    server.close(&listener)?;
    let mut cookies = medley.play()?;
    cookies.extend([listener.cookie, socket.cookie, accepted.cookie]);
    let (all, filtered) = finish(all, filtered, &cookies)?;
    for (cookie, id) in [(accepted.cookie, ids[0]), (listener.cookie, ids[0]), (socket.cookie, ids[1])] {
        ensure!(all.of(cookie).iter().all(|t| t.cgroup == Some(id)), "cgroup of {cookie:x} is not {id}");
    }
    check(&all, &filtered, &cookies, |t| t.cgroup.is_some_and(|id| ids.contains(&id)))
}

/// `--children` follows forks, and forks of forks; without it only the process itself is shown.
fn children() -> Result<()> {
    let (server, parent, stranger) =
        (Actor::start("ts-server")?, Actor::start("ts-parent")?, Actor::start("ts-stranger")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let pid = parent.pid.to_string();
    let [all, filtered] = two_tracers(&["--pid", &pid, "--children"])?;
    let only_parent = Tracer::start(["--pid", &pid])?;
    let child = parent.fork()?;
    let grandchild = child.fork()?;
    let family = [parent.pid, child.pid, grandchild.pid];
    let mut cookies = Vec::new();
    for actor in [&stranger, &parent, &child, &grandchild] {
        let socket = actor.connect(listener.local)?;
        actor.reset(&socket)?;
        cookies.push(socket.cookie);
    }
    let (all, filtered) = finish(all, filtered, &cookies)?;
    let only_parent = only_parent.finish()?;
    check(&all, &filtered, &cookies, |t| t.owner_pid().is_some_and(|pid| family.contains(&pid)))?;
    check(&all, &only_parent, &cookies, |t| t.owner_pid() == Some(parent.pid))
}

/// What is forked while the tracer begins is followed, too: before it looks for children, while it does, and after.
fn forked_meanwhile() -> Result<()> {
    const MOST: usize = 500;
    let (server, parent) = (Actor::start("ts-server")?, Actor::start("ts-parent")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let tracer = Setup::new(["--pid", &parent.pid.to_string(), "--children"]).spawn()?;
    let mut children = Vec::new();
    while !tracer.is_attached() {
        ensure!(children.len() < MOST, "not attached after {MOST} forks");
        children.push(parent.fork()?);
        // Ever longer: on an emulated processor attaching takes seconds.
        std::thread::sleep(Duration::from_millis(2 + children.len() as u64 / 25));
    }
    let mut opened = Vec::new();
    for child in &children {
        let socket = child.connect(listener.local)?;
        child.reset(&socket)?;
        opened.push((child.pid, socket.cookie));
    }
    tracer.wait_closed(&opened.last().map(|&(_, cookie)| cookie).into_iter().collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    for (nth, (pid, cookie)) in opened.iter().enumerate() {
        let first = trace.of(*cookie).first().and_then(|first| first.owner_pid());
        ensure!(first == Some(*pid), "child {nth} of {} is not followed: {first:?}", opened.len());
    }
    Ok(())
}

/// Plays the medley for a tracer with each of these filters and one without any.
fn compare(medley: &Medley, filters: Vec<(String, Wanted<'_>)>) -> Result<()> {
    let setups = filters.iter().map(|(arguments, _)| Setup::new(arguments.split(' ')));
    let mut tracers = Setup::start_all(setups.chain([Setup::default()]))?;
    let cookies = medley.play()?;
    let all = tracers.pop().context("no tracer without a filter")?;
    all.wait_closed(&cookies)?;
    // Each takes its time to detach, so they all do it at once.
    for tracer in tracers.iter().chain([&all]) {
        tracer.signal(Signal::INT)?;
    }
    let all = all.trace()?;
    for (tracer, (arguments, wanted)) in tracers.into_iter().zip(filters) {
        check(&all, &tracer.trace()?, &cookies, wanted).context(arguments)?;
    }
    Ok(())
}

fn two_tracers(filter: &[&str]) -> Result<[Tracer; 2]> {
    let tracers = Setup::start_all([Setup::default(), Setup::new(filter)])?;
    tracers.try_into().ok().context("two were asked for")
}

fn finish(all: Tracer, filtered: Tracer, cookies: &[u64]) -> Result<(Trace, Trace)> {
    all.wait_closed(cookies)?;
    Ok((all.finish()?, filtered.finish()?))
}

/// What the filter showed is what it should have, of our sockets exactly, of others' at least nothing wrong.
fn check(all: &Trace, filtered: &Trace, cookies: &[u64], wanted: impl Fn(&Transition) -> bool) -> Result<()> {
    let mut counts = [0_u64; 2];
    for &cookie in cookies {
        let (shown, hidden): (Vec<_>, Vec<_>) = all.of(cookie).into_iter().partition(|t| wanted(t));
        let found: Vec<_> = filtered.of(cookie).into_iter().map(essence).collect();
        let expected: Vec<_> = shown.iter().copied().map(essence).collect();
        ensure!(found == expected, "socket {cookie:x}: expected {expected:#?}\nshown {found:#?}");
        counts[0] += shown.len() as u64;
        counts[1] += hidden.len() as u64;
    }
    ensure!(counts.iter().all(|&count| count > 0), "the filter had no choice to make: {counts:?}");
    let wrong = filtered.transitions.iter().find(|t| !wanted(t));
    ensure!(wrong.is_none(), "shown but not wanted: {wrong:?}");
    ensure!(filtered.summary.filtered >= counts[1], "{} hidden, but {:?}", counts[1], filtered.summary);
    Ok(())
}

/// A transition without what two tracers measure each for itself.
fn essence(transition: &Transition) -> Transition {
    Transition {
        time: None,
        id: None,
        mono_ns: 0,
        in_old_ns: transition.in_old_ns.map(|_| 0),
        in_old_at_least_ns: transition.in_old_at_least_ns.map(|_| 0),
        ..transition.clone()
    }
}
