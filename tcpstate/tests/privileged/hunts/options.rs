//! Options of `leaks`, each with sockets that it is to show and others that it is not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::scene::Leaky;
use crate::{
    scenarios::{
        leaks::report::{Group, Report, ThreadName},
        named, truth,
    },
    support::{clock, netns::Namespace, process::Actor, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "hunts::options";
        pid, pid_of_a_holder, children, older_than, netns, local_port, top, duration, once_does_not_wait, once_waits_to_know,
        once_does_not_deny_ghosts, threads_that_accept,
    ]
}

/// Exactly these sockets are counted.
fn check_total(report: &Report, count: usize) -> Result<()> {
    let shown: usize = report.groups.iter().map(|group| group.sockets).sum();
    ensure!(shown == count && report.totals.close_wait == count, "{shown} of {count}, {:?}", report.totals);
    Ok(())
}

/// Exactly these sockets, of one process.
fn check_of(report: &Report, pid: u32, count: usize) -> Result<()> {
    check_total(report, count)?;
    let stranger = report.groups.iter().find(|group| group.process.as_ref().is_none_or(|process| process.pid != pid));
    ensure!(stranger.is_none(), "not of {pid}: {stranger:?}");
    Ok(())
}

/// Those of before and those of now, and nobody else's.
fn pid() -> Result<()> {
    let (one, other) = (Leaky::new()?, Leaky::new()?);
    one.leak(2)?;
    other.leak(3)?;
    let pid = one.server.pid;
    let hunt = super::json(&["--older-than", "1ms", "--pid", &pid.to_string()])?;
    hunt.wait_until("those of before", |report| check_of(report, pid, 2))?;
    other.leak(1)?;
    one.leak(1)?;
    ensure!(one.listed()?.len() == 3 && other.listed()?.len() == 4, "not as it was meant to be");
    hunt.wait_after(clock::monotonic_ns(), "that of now", |report| check_of(report, pid, 3))?;
    hunt.finish()?;
    Ok(())
}

/// What another process opened and it holds is among its sockets; of the opening, which the filter leaves out, nothing is said.
fn pid_of_a_holder() -> Result<()> {
    let scenario = named("passed")?;
    let mut running = (scenario.start)()?;
    let [back] = running.scene.holders[..] else { anyhow::bail!("not one holder") };
    let hunt = super::json(&["--older-than", "1ms", "--pid", &back.to_string()])?;
    running.leak()?;
    truth::settle(&mut running, &scenario.expected)?;
    let report = hunt.wait_until("what was passed to it", |report| check_of(report, back, scenario.expected.leaked))?;
    for group in &report.groups {
        ensure!(group.verdict == "eof-unread" && group.opened.stack.is_none(), "{group:?}");
        ensure!(group.opened.known == "before-trace", "known: {group:?}");
        let held: usize = group.holders.iter().filter(|holder| holder.pid == back).map(|holder| holder.sockets).sum();
        ensure!(held == group.sockets && group.holders.len() == 1, "held by another: {group:?}");
    }
    hunt.finish()?;
    Ok(())
}

/// With `--children` also of those that are yet to be born.
fn children() -> Result<()> {
    let parent = Actor::start("ts-parent")?;
    let older = Leaky::of(parent.fork()?, Actor::start("ts-client")?)?;
    let pid = parent.pid.to_string();
    let options = ["--older-than", "1ms", "--pid", &pid];
    let alone = super::json(&options)?;
    let family = super::json(&[&options[..], &["--children"]].concat())?;
    let younger = Leaky::of(parent.fork()?, older.client.clone())?;
    let own = Leaky::of(parent, older.client.clone())?;
    let stranger = Leaky::new()?;
    for (leaky, count) in [(&older, 2), (&younger, 3), (&own, 1), (&stranger, 4)] {
        leaky.leak(count)?;
    }
    family.wait_until("those of the family", |report| {
        check_total(report, 6)?;
        for (leaky, count) in [(&older, 2), (&younger, 3), (&own, 1)] {
            let of_it = |pid| move |group: &&Group| group.process.as_ref().is_some_and(|process| process.pid == pid);
            let shown: usize = report.groups.iter().filter(of_it(leaky.server.pid)).map(|group| group.sockets).sum();
            ensure!(shown == count, "{shown} of pid {} instead of {count}", leaky.server.pid);
        }
        Ok(())
    })?;
    alone.wait_after(clock::monotonic_ns(), "those of the parent", |report| check_of(report, own.server.pid, 1))?;
    alone.finish()?;
    family.finish()?;
    Ok(())
}

/// What is not old enough is in no group, but counted and spoken of.
fn older_than() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    leaky.leak(2)?;
    let options = ["--older-than", "1h", "--lport", &port];
    let json = super::json(&options)?;
    let text = super::spawn(&[&options[..], &["--interval", "200ms"]].concat())?;
    leaky.leak(3)?;
    let listed = leaky.listed()?.len();
    json.wait_until("all that is young", |report| {
        ensure!(report.totals.close_wait == listed && report.totals.young == listed, "{:?}", report.totals);
        ensure!(report.groups.is_empty() && report.groups_left_out == 0, "{:?}", report.groups);
        Ok(())
    })?;
    let headline = format!(
        "{listed} sockets in CLOSE_WAIT in 1 process, 0 ghost descriptors, {listed} not known to be old enough"
    );
    text.wait_until_said("the same in words", |said, _| said.contains(&headline))?;
    json.finish()?;
    text.finish()?;
    Ok(())
}

/// By path and by inode number.
fn netns() -> Result<()> {
    let (here, there) = (Namespace::new()?, Namespace::new()?);
    let leaky = |namespace: &Namespace| Leaky::of(namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let (one, other) = (leaky(&here)?, leaky(&there)?);
    let [by_path, by_inode] = [here.path().display().to_string(), here.inode.to_string()]
        .map(|netns| super::json(&["--older-than", "1ms", "--netns", &netns]));
    let hunts = [by_path?, by_inode?];
    one.leak(2)?;
    other.leak(3)?;
    ensure!(one.listed()?.len() == 2 && other.listed()?.len() == 3, "not as it was meant to be");
    for hunt in hunts {
        hunt.wait_after(clock::monotonic_ns(), "those of one namespace", |report| check_of(report, one.server.pid, 2))?;
        hunt.finish()?;
    }
    Ok(())
}

fn local_port() -> Result<()> {
    let one = Leaky::new()?;
    let (second, third) = (one.another()?, one.another()?);
    second.leak(1)?;
    let ports = format!("{},{}", one.port(), second.port());
    let hunt = super::json(&["--older-than", "1ms", "--lport", &ports])?;
    one.leak(2)?;
    third.leak(3)?;
    let report = hunt.wait_after(clock::monotonic_ns(), "those of two ports", |report| check_total(report, 3))?;
    let wanted = [&one, &second].map(|leaky| leaky.listener.local.port());
    for example in report.groups.iter().flat_map(|group| &group.examples) {
        ensure!(wanted.contains(&example.local.port), "neither of {wanted:?}: {example:?}");
    }
    hunt.finish()?;
    Ok(())
}

/// The worst is shown, the others are counted.
fn top() -> Result<()> {
    let worst = Leaky::new()?;
    let (second, third) = (worst.another()?, worst.another()?);
    let ports = [&worst, &second, &third].map(Leaky::port).join(",");
    let options = ["--older-than", "1ms", "--top", "1", "--lport", &ports];
    let json = super::json(&options)?;
    let text = super::spawn(&[&options[..], &["--interval", "200ms"]].concat())?;
    for (leaky, count) in [(&worst, 5), (&second, 2), (&third, 1)] {
        leaky.leak(count)?;
    }
    let report = json.wait_until("the worst", |report| {
        ensure!(report.totals.close_wait == 8 && report.totals.young == 0, "{:?}", report.totals);
        ensure!(report.groups.len() == 1 && report.groups_left_out == 2, "{:?}", report.groups);
        Ok(())
    })?;
    let group = &report.groups[0];
    ensure!(group.opened.port == Some(worst.listener.local.port()) && group.sockets == 5, "not the worst: {group:?}");
    text.wait_until_said("that there are more", |said, _| {
        said.contains("2 more groups with 3 sockets: see them with a larger `--top`")
    })?;
    json.finish()?;
    text.finish()?;
    Ok(())
}

fn duration() -> Result<()> {
    let asked = Duration::from_millis(900);
    let began = Instant::now();
    let hunt = super::json(&["--older-than", "1ms", "--duration", "900ms"])?;
    let attached = began.elapsed();
    let ended = hunt.end()?;
    let took = began.elapsed();
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{}\n{}", ended.status, ended.stderr);
    ensure!(took >= asked, "it ended after {took:?}");
    ensure!(took < asked + attached + Duration::from_secs(3), "{took:?}, attached after {attached:?}");
    let reports = ended.stdout.lines().map(serde_json::from_str::<Report>).collect::<Result<Vec<_>, _>>()?;
    let [.., before, last] = &reports[..] else { anyhow::bail!("{} reports", reports.len()) };
    // The last one has a snapshot of its own, however lately there was another: no later report makes up for it.
    let looked_ns = last.mono_ns - last.snapshot_age_ns.context("no snapshot")?;
    ensure!(looked_ns > before.mono_ns, "the last snapshot is of {looked_ns} ns, before that of {} ns", before.mono_ns);
    Ok(())
}

/// No socket is younger than this and told to be older.
const ONCE_OLDER_THAN_NS: u64 = 1_500_000_000;

/// What is old enough without doubt is shown, and what is too young without doubt is dismissed, at once.
fn once_does_not_wait() -> Result<()> {
    let leaky = Leaky::new()?;
    let old = leaky.leak(2)?;
    let oldest_ns = old.iter().map(|leaked| leaked.fin.to_ns).max().context("nothing")?;
    clock::sleep_until_ns(oldest_ns + ONCE_OLDER_THAN_NS + 100_000_000);
    // Beside a hunt of the same sockets that has no time to wait: the machine may be slow, but a second look is slower.
    let (mut fastest, mut without) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let young = leaky.another()?;
        young.leak(1)?;
        let ports = [leaky.port(), young.port()].join(",");
        let began = Instant::now();
        super::spawn(&["--duration", "1ms", "-o", "json", "--lport", &ports])?.end()?;
        without = without.min(began.elapsed());
        let began = Instant::now();
        let report = once(&ports)?;
        fastest = fastest.min(began.elapsed());
        // It may have become old enough while the tracer started.
        let shown: usize = report.groups.iter().map(|group| group.sockets).sum();
        ensure!(shown + report.totals.young == 3 && shown >= 2, "{shown} shown, {:?}", report.totals);
    }
    ensure!(
        fastest < without + Duration::from_millis(1_300),
        "it took {fastest:?} at best, {without:?} without waiting"
    );
    Ok(())
}

/// Of an idle connection nothing tells when within that time it ended: a second look does.
fn once_waits_to_know() -> Result<()> {
    let leaky = Leaky::new()?;
    let peer = leaky.client.connect(leaky.listener.local)?;
    let socket = leaky.server.accept(&leaky.listener)?;
    clock::sleep_until_ns(socket.opened.to_ns + ONCE_OLDER_THAN_NS + 100_000_000);
    let fin = leaky.client.close(&peer)?;
    leaky.server.await_hangup(&socket)?;
    let report = once(&leaky.port())?;
    let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.totals) };
    ensure!(group.sockets == 1 && group.examples[0].cookie == Some(socket.cookie), "{group:?}");
    let age_ns = report.mono_ns - fin.from_ns;
    ensure!(age_ns >= ONCE_OLDER_THAN_NS, "shown {age_ns} ns after its peer closed");
    Ok(())
}

/// Sockets that several threads accepted by the same code are said to be of them all.
fn threads_that_accept() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    let options = ["--older-than", "1ms", "--lport", &port];
    let json = super::json(&options)?;
    let text = super::spawn(&[&options[..], &["--interval", "200ms"]].concat())?;
    text.wait_until_said("the first report", |said, _| said.contains(" in CLOSE_WAIT in "))?;
    let mut tids = Vec::new();
    for (thread, name) in [(1, "ts-api"), (2, "ts-jobs"), (3, "ts-api")] {
        let accepting = leaky.server.thread(thread);
        accepting.set_name(name.as_bytes())?;
        let peer = leaky.client.connect(leaky.listener.local)?;
        let socket = accepting.accept(&leaky.listener)?;
        leaky.client.close(&peer)?;
        tids.push(socket.tid);
    }
    tids.dedup();
    ensure!(tids.len() == 3, "not three threads: {tids:?}");
    let named = |comm: &str, sockets| ThreadName { comm: comm.to_owned(), sockets };
    json.wait_until("all three", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.sockets == 3 && group.opened.threads == 3, "{group:?}");
        ensure!(group.opened.thread_names == [named("ts-api", 2), named("ts-jobs", 1)], "{:?}", group.opened);
        Ok(())
    })?;
    text.wait_until_said("the same in words", |said, _| said.contains(", by 3 threads named ts-api, ts-jobs\n"))?;
    json.finish()?;
    text.finish()?;
    Ok(())
}

/// Ghost descriptors of before: a hunt that saw them come about counts them, `--once` cannot, and says so.
fn once_does_not_deny_ghosts() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    let hunt = super::json(&["--older-than", "1ms", "--lport", &port])?;
    let leaked = leaky.leak(3)?;
    for ghost in &leaked[1..] {
        // Its peer is gone, and answers with a reset.
        leaky.server.send(&ghost.socket, 1)?;
    }
    hunt.wait_until("the ghosts", |report| {
        let totals = &report.totals;
        ensure!((totals.ghosts, totals.ghosts_known, totals.close_wait) == (2, true, 1), "{totals:?}");
        Ok(())
    })?;
    ensure!(leaky.listed()?.len() == 1, "more than one is in CLOSE_WAIT");
    let json = once(&port)?;
    ensure!((json.totals.ghosts, json.totals.ghosts_known) == (0, false), "{:?}", json.totals);
    let text = super::spawn(&["--once", "--older-than", "1ms", "--lport", &port])?.end()?.stdout;
    ensure!(text.contains("1 socket in CLOSE_WAIT in 1 process, ghost descriptors not known"), "{text}");
    ensure!(text.contains("with --once: ") && !text.contains("will show where"), "{text}");
    ensure!(text.contains("a hunt that goes on sees where the next leak of its kind is opened"), "{text}");
    hunt.finish()?;
    Ok(())
}

fn once(ports: &str) -> Result<Report> {
    let older_than = format!("{ONCE_OLDER_THAN_NS}ns");
    let hunt = super::spawn(&["--once", "-o", "json", "--older-than", &older_than, "--lport", ports])?;
    let ended = hunt.end()?;
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{}\n{}", ended.status, ended.stderr);
    let [report] = ended.stdout.lines().collect::<Vec<_>>()[..] else { anyhow::bail!("not one report") };
    Ok(serde_json::from_str(report)?)
}
