//! A verdict rests on facts, and changes with them.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::leaks::{
        hunt::Hunt,
        report::{Group, Report},
    },
    support::{process::Actor, protocol::Socket, run::trials, ss},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::changes"; unread_read_ghost_gone, never_accepted_then_accepted]
}

/// A server and a client, a listener, and a hunt of its port.
struct Live {
    server: Actor,
    client: Actor,
    listener: Socket,
    hunt: Hunt,
}

impl Live {
    fn start() -> Result<Self> {
        let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
        let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local.port().to_string();
        let hunt = super::json(&["--older-than", "50ms", "--lport", &port])?;
        Ok(Self { server, client, listener, hunt })
    }

    /// Waits until the one socket is under this verdict.
    fn wait_for(&self, verdict: &str, cookie: u64) -> Result<Group> {
        let report = self.hunt.wait_until(verdict, |report| {
            let group = only_group(report)?;
            ensure!(group.verdict == verdict, "not {verdict}: {group:?}");
            let held: usize = group.holders.iter().map(|held| held.sockets).sum();
            ensure!(held + group.held_by_nobody == 1, "nobody has looked who holds it: {group:?}");
            Ok(())
        })?;
        let group = only_group(&report)?.clone();
        let [example] = &group.examples[..] else { anyhow::bail!("not one example: {group:?}") };
        ensure!(example.cookie == Some(cookie), "another socket than {cookie:#x}: {group:?}");
        Ok(group)
    }

    /// What `ss` says of the socket, if it lists it.
    fn listed(&self, cookie: u64) -> Result<Option<ss::Listed>> {
        let listed = ss::with_local_port(self.listener.local.port())?;
        Ok(listed.into_iter().find(|socket| socket.cookie == cookie))
    }
}

fn only_group(report: &Report) -> Result<&Group> {
    ensure!(report.complete, "something was lost: {:?}", report.losses);
    match (&report.groups[..], &report.sending[..]) {
        ([group], []) if group.sockets == 1 => Ok(group),
        (groups, sending) => anyhow::bail!("not one socket: {groups:?} {sending:?}"),
    }
}

fn unread_read_ghost_gone() -> Result<()> {
    let live = Live::start()?;
    let client = live.client.connect(live.listener.local)?;
    let server = live.server.accept(&live.listener)?;
    // Not half: a peer that still waits for an answer would be served.
    live.client.shutdown_both(&client)?;
    let group = live.wait_for("eof-unread", server.cookie)?;
    let listed = live.listed(server.cookie)?.context("`ss` does not list it")?;
    ensure!(listed.state == "CLOSE_WAIT" && listed.recv_queue == 1, "{listed:?}");
    ensure!(group.told.is_empty(), "told of the end already: {group:?}");

    live.server.receive(&server, 0)?;
    let group = live.wait_for("eof-read", server.cookie)?;
    let listed = live.listed(server.cookie)?.context("`ss` does not list it")?;
    ensure!(listed.state == "CLOSE_WAIT" && listed.recv_queue == 0, "{listed:?}");
    let [teller] = &group.told[..] else { anyhow::bail!("not told once: {group:?}") };
    ensure!(teller.by.as_ref().is_some_and(|by| by.comm == "ts-server"), "told by another: {group:?}");
    let age = group.age.oldest;
    ensure!(age.at_most_ns == Some(age.at_least_ns), "its entry was seen: {age:?}");

    // The peer is in FIN_WAIT2 and closes with a reset.
    live.client.reset(&client)?;
    live.server.await_hangup(&server)?;
    let group = live.wait_for("ghost-fd", server.cookie)?;
    ensure!(live.listed(server.cookie)?.is_none(), "`ss` still lists it");
    ensure!(group.examples[0].holders.iter().any(|held| held.fd == server.fd.cast_unsigned()), "{group:?}");
    let older = group.age.oldest;
    ensure!(older.at_least_ns > age.at_least_ns, "it became younger: {age:?}, then {older:?}");

    let closed = live.server.close(&server)?;
    live.hunt.wait_after(closed.to_ns, "nothing any more", |report| {
        ensure!(report.groups.is_empty() && report.sending.is_empty(), "still there: {:?}", report.groups);
        ensure!(report.totals.ghosts == 0 && report.totals.close_wait == 0, "{:?}", report.totals);
        Ok(())
    })?;
    live.hunt.finish()?;
    Ok(())
}

fn never_accepted_then_accepted() -> Result<()> {
    let live = Live::start()?;
    let client = live.client.connect(live.listener.local)?;
    live.client.shutdown_write(&client)?;
    let waiting = ss::with_local_port(live.listener.local.port())?;
    let waiting = waiting.iter().find(|socket| socket.remote == Some(client.local)).context("`ss` does not list it")?;
    ensure!(waiting.inode == 0 && waiting.holders.is_empty(), "somebody has it: {waiting:?}");
    let group = live.wait_for("never-accepted", waiting.cookie)?;
    ensure!(group.opened.known == "not-accepted" && group.held_by_nobody == 1, "{group:?}");
    let before = group.age.oldest;

    let server = live.server.accept(&live.listener)?;
    ensure!(server.cookie == waiting.cookie, "another connection was accepted");
    let group = live.wait_for("eof-unread", server.cookie)?;
    ensure!(group.opened.known == "seen" && group.opened.stack.is_some(), "not seen: {group:?}");
    ensure!(group.opened.by.as_ref().is_some_and(|by| by.pid == live.server.pid), "not its opener: {group:?}");
    let holder = &group.holders[..];
    ensure!(holder.len() == 1 && holder[0].pid == live.server.pid && group.held_by_nobody == 0, "{group:?}");
    let after = group.age.oldest;
    ensure!(after.at_least_ns > before.at_least_ns, "its age began anew: {before:?}, then {after:?}");

    live.server.close(&server)?;
    live.hunt.wait_until("a late close", |report| {
        ensure!(report.groups.is_empty() && report.totals.closed_late == 1, "{:?}", report.totals);
        Ok(())
    })?;
    live.hunt.finish()?;
    Ok(())
}
