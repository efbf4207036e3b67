//! Events lost on purpose: the report after the next snapshot is right again, and says what was lost.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::{
    losses::await_stopped,
    scenarios::leaks::report::{Example, Group, Report},
    support::{
        clock,
        netns::Namespace,
        process::Actor,
        protocol::Socket,
        run::trials,
        ss::{self, Listed},
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::losses"; tracer_stopped]
}

/// As many as a group shows one by one, so that every socket of a listener is in the report.
const PER_LISTENER: usize = 3;
const LISTENERS: usize = 100;
/// Listeners whose sockets are in `CLOSE_WAIT` before the burst.
const BEFORE: usize = 10;
/// Listeners whose sockets are closed within it, half of them of before.
const CLOSED: usize = 10;

/// The address of one socket of a report: cookie, local and remote end.
type Identity = (u64, SocketAddr, SocketAddr);

/// The smallest buffer, and a tracer that cannot read it.
fn tracer_stopped() -> Result<()> {
    let mut load = Load::new()?;
    let options = load.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let json = super::json(&[&options[..], &["--top", "1000"]].concat())?;
    let text = super::spawn(&[&options[..], &["--interval", "200ms", "--top", "1"]].concat())?;
    text.wait_until_said("the first report", |said, _| said.contains(" in CLOSE_WAIT in "))?;
    load.leak(0..BEFORE)?;
    let report = json.wait_until("the sockets of before", |report| load.compare(report))?;
    // On a busy machine so small a buffer may have been too small before.
    let lost_before = report.losses.events;

    for hunt in [&json, &text] {
        hunt.signal(Signal::STOP)?;
        await_stopped(hunt.pid())?;
    }
    load.leak(BEFORE..LISTENERS)?;
    load.close(BEFORE - CLOSED / 2..BEFORE + CLOSED / 2)?;
    let listed = load.listed()?;
    ensure!(listed.len() == (LISTENERS - CLOSED) * PER_LISTENER, "{} in CLOSE_WAIT", listed.len());
    let continued_ns = clock::monotonic_ns();
    for hunt in [&json, &text] {
        hunt.signal(Signal::CONT)?;
    }

    // Not one of the reports to come, but the first.
    let mut objection = None;
    let first = json.wait_until("the first report after the burst", |report| {
        ensure!(report.mono_ns > continued_ns, "of before");
        objection = load.compare(report).err();
        Ok(())
    })?;
    if let Some(objection) = objection {
        return Err(objection.context(format!("{:?} {:?}", first.losses, first.totals)));
    }
    let lost = first.losses.events;
    ensure!(lost > lost_before, "nothing was lost, so nothing was tried: {:?}", first.losses);
    ensure!(!first.complete && !first.losses.unrepaired, "{:?}", first.losses);
    let head = format!(" {} sockets in CLOSE_WAIT in 1 process,", listed.len());
    text.wait_until_said("the losses in words", |said, _| {
        said.lines().zip(said.lines().skip(1)).any(|(line, next)| {
            line.contains(&head)
                && next.strip_prefix("incomplete: ").is_some_and(|rest| {
                    let (number, rest) = rest.split_once(' ').unwrap_or_default();
                    let repaired = "events lost: the sockets are right as of a snapshot";
                    number.parse().is_ok_and(|events: u64| events > 0) && rest.starts_with(repaired)
                })
        })
    })?;

    // What comes later is seen again, and the loss stays on record.
    load.close(BEFORE + CLOSED / 2..BEFORE + CLOSED)?;
    let later = json.wait_until("the report of what came later", |report| load.compare(report))?;
    ensure!(later.losses.events >= lost && !later.losses.unrepaired, "first {lost}, then {:?}", later.losses);
    let closed = (CLOSED + CLOSED / 2) * PER_LISTENER;
    ensure!(later.totals.closed_late <= closed, "{} closed late of {closed}", later.totals.closed_late);
    ensure!(
        later.losses.events > lost || later.totals.closed_late >= CLOSED / 2 * PER_LISTENER,
        "late closes that were seen are missing: {:?}",
        later.totals
    );
    json.finish()?;
    text.finish()?;
    Ok(())
}

/// A server with many listeners in a namespace where nobody else is.
struct Load {
    namespace: Namespace,
    server: Actor,
    client: Actor,
    listeners: Vec<Socket>,
    accepted: Vec<Vec<Socket>>,
}

impl Load {
    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
        let listeners = (0..LISTENERS).map(|_| server.listen((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_>>()?;
        Ok(Self { namespace, server, client, listeners, accepted: vec![Vec::new(); LISTENERS] })
    }

    fn options(&self) -> Vec<String> {
        let netns = self.namespace.path().display().to_string();
        ["--netns", &netns, "--buffer", "4096", "--older-than", "1ms"].map(str::to_owned).into()
    }

    /// The sockets of these listeners are accepted, and left alone when their peers close.
    fn leak(&mut self, which: std::ops::Range<usize>) -> Result<()> {
        for at in which {
            let opened = self.client.connect_many(self.listeners[at].local, PER_LISTENER)?;
            self.accepted[at] = self.server.accept_many(&self.listeners[at], PER_LISTENER)?;
            self.client.close_many(&opened)?;
            for socket in &self.accepted[at] {
                self.server.await_hangup(socket)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, which: std::ops::Range<usize>) -> Result<()> {
        for at in which {
            self.server.close_many(&self.accepted[at])?;
            self.accepted[at].clear();
        }
        Ok(())
    }

    fn listed(&self) -> Result<Vec<Listed>> {
        let listed = ss::inside(&self.namespace.path(), "src = 127.0.0.1")?;
        Ok(listed.into_iter().filter(|socket| socket.state == "CLOSE_WAIT").collect())
    }

    /// Every socket that `ss` lists is in the report, and no other, under its process.
    fn compare(&self, report: &Report) -> Result<()> {
        let identity = |socket: &Listed| Ok((socket.cookie, socket.local, socket.remote.context("no peer")?));
        let listed = self.listed()?.iter().map(identity).collect::<Result<BTreeSet<Identity>>>()?;
        let shown: Vec<&Group> = report.groups.iter().chain(&report.sending).collect();
        let examples = shown.iter().flat_map(|group| &group.examples);
        let in_report = examples.map(identity_of).collect::<Result<BTreeSet<Identity>>>()?;
        let missing: Vec<_> = listed.difference(&in_report).collect();
        let invented: Vec<_> = in_report.difference(&listed).collect();
        ensure!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}; not there: {invented:?}");
        ensure!(report.totals.close_wait == listed.len() && report.groups_left_out == 0, "{:?}", report.totals);
        for group in shown {
            let pid = group.process.as_ref().map(|process| process.pid);
            ensure!(pid == Some(self.server.pid), "of another process: {group:?}");
            let held: usize =
                group.holders.iter().filter(|held| held.pid == self.server.pid).map(|held| held.sockets).sum();
            ensure!(held == group.sockets && group.sockets == group.examples.len(), "{group:?}");
        }
        Ok(())
    }
}

fn identity_of(example: &Example) -> Result<Identity> {
    let Example { cookie, local, remote, .. } = example;
    let cookie = cookie.with_context(|| format!("no cookie: {example:?}"))?;
    Ok((cookie, (local.addr, local.port).into(), (remote.addr, remote.port).into()))
}
