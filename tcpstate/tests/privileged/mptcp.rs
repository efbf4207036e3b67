//! Multipath TCP: the parent socket and its subflows have the same ports and are told apart by their protocol.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::{
    hunts,
    support::{
        event::{Endpoint, Transition},
        kernel::is_at_least,
        netns::Namespace,
        process::Actor,
        protocol::{Socket, Transport},
        run::trials,
        tracer::{Trace, Tracer},
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["mptcp"; parent_and_subflow, fallback_to_tcp, leaked, data_unread, unaccepted]
}

fn parent_and_subflow() -> Result<()> {
    // A new namespace has MPTCP enabled, whatever this one has.
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let (opened, accepted) = ended_by_client(&server, &client)?;
    tracer.wait_entered("CLOSE_WAIT", &[accepted.cookie])?;
    server.close(&accepted)?;
    tracer.wait_closed(&[opened.cookie, accepted.cookie])?;
    let trace = tracer.finish()?;

    for (actor, socket, via, states) in [
        (&client, &opened, "connect", ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"]),
        (&server, &accepted, "accept", ["CLOSE_WAIT", "CLOSE", "", "", ""]),
    ] {
        let parent = parent(&trace, socket)?;
        ensure!(parent.iter().all(|t| t.protocol == "mptcp"), "the parent is not shown as mptcp: {parent:?}");
        let owner = actor.owner(socket, via);
        // Before accept() and after the end nobody need be named, but never somebody else.
        let wrong = parent.iter().find(|t| t.owner_pid().is_some_and(|pid| pid != actor.pid));
        ensure!(wrong.is_none(), "expected {owner:?}: {wrong:?}");
        let owned = parent.iter().filter(|t| t.owner.as_ref() == Some(&owner)).map(|t| t.new.as_str());
        ensure!(owned.eq(states.into_iter().filter(|state| !state.is_empty())), "of {owner:?}: {parent:?}");
        let subflows = subflows(&trace, socket.local.into(), parent[0]);
        ensure!(subflows.iter().any(|t| t.new == "ESTABLISHED"), "no subflow of {}", socket.local);
        ensure!(subflows.iter().all(|t| t.protocol == "tcp"), "a subflow is not shown as tcp: {subflows:?}");
        let strangers = subflows.iter().find(|t| t.owner_pid() != Some(actor.pid));
        ensure!(strangers.is_none(), "a subflow of somebody else: {strangers:?}");
    }
    Ok(())
}

/// A connection that the client has closed after a byte: the client's end and the server's.
fn ended_by_client(server: &Actor, client: &Actor) -> Result<(Socket, Socket)> {
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    let opened = client.connect_with(Transport::Mptcp, listener.local)?;
    let accepted = server.accept(&listener)?;
    // MPTCP is established in both directions once data went; before that a FIN falls back.
    client.send(&opened, 1)?;
    server.await_readable(&accepted)?;
    client.close(&opened)?;
    server.await_hangup(&accepted)?;
    Ok((opened, accepted))
}

/// Queues and times are those of the subflows: none are made up for the parent.
fn leaked() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let netns = namespace.path();
    let hunt = hunts::json(&["--older-than", "50ms", "--netns", &netns.to_string_lossy()])?;
    let (_, accepted) = ended_by_client(&server, &client)?;
    server.receive(&accepted, 1)?;
    server.receive(&accepted, 0)?;
    hunt.wait_until("the parent", |report| {
        ensure!(report.sending.is_empty(), "sends: {:?}", report.sending);
        let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
        ensure!(group.sockets == 1 && group.held_by_nobody == 0, "{group:?}");
        ensure!(group.process.as_ref().is_some_and(|process| process.pid == server.pid), "of another: {group:?}");
        // Before 6.3 no hook tells of what is read of it.
        ensure!(["eof-read", "unknown"].contains(&&*group.verdict), "{group:?}");
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// No iterator lists a parent that nobody has accepted; the hooks tell of it.
fn unaccepted() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let hunt = hunts::json(&["--older-than", "50ms", "--netns", &namespace.path().to_string_lossy()])?;
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    for _ in 0..3 {
        let opened = client.connect_with(Transport::Mptcp, listener.local)?;
        client.send(&opened, 1)?;
        client.close(&opened)?;
    }
    let shown = hunt.wait_until("the parents", |report| {
        let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
        ensure!(group.verdict == "never-accepted" && group.sockets == 3, "{group:?}");
        ensure!(group.process.as_ref().is_some_and(|process| process.pid == server.pid), "of another: {group:?}");
        Ok(())
    })?;
    // As long as they wait, and no longer.
    hunt.wait_after(shown.mono_ns + 1_000_000_000, "the same later", |report| {
        ensure!(report.totals.close_wait == 3, "{report:?}");
        Ok(())
    })?;
    server.close(&listener)?;
    hunt.wait_until("none", |report| {
        ensure!(report.totals.close_wait == 0, "{report:?}");
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// The peer speaks plain TCP, and so does what is accepted.
fn fallback_to_tcp() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    let opened = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    client.close(&opened)?;
    server.await_hangup(&accepted)?;
    server.close(&accepted)?;
    tracer.wait_closed(&[opened.cookie, accepted.cookie])?;
    let trace = tracer.finish()?;
    let shown = trace.of(accepted.cookie);
    let owner = server.owner(&accepted, "accept");
    ensure!(shown.iter().any(|t| t.new == "CLOSE_WAIT" && t.protocol == "tcp"), "{shown:?}");
    ensure!(shown.last().is_some_and(|last| last.owner.as_ref() == Some(&owner)), "expected {owner:?}: {shown:?}");
    Ok(())
}

/// What stands before the end is counted by Linux 6.12, and not by 6.1; without that nothing is made up.
fn data_unread() -> Result<()> {
    const UNREAD: usize = 40;
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let netns = namespace.path();
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    let opened = client.connect_with(Transport::Mptcp, listener.local)?;
    let accepted = server.accept(&listener)?;
    client.send(&opened, 20)?;
    server.receive(&accepted, 20)?;
    client.send(&opened, UNREAD)?;
    server.send(&accepted, 7)?;
    client.receive(&opened, 7)?;
    client.close(&opened)?;
    server.await_hangup(&accepted)?;
    let hunt = hunts::json(&["--older-than", "1ms", "--netns", &netns.to_string_lossy()])?;
    let judged = |recv_q: usize, verdict: &str| {
        let known = hunt.wait_until(verdict, |report| {
            let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
            match group.recv_q {
                Some(queue) => {
                    ensure!((queue.min, queue.max) == (recv_q, recv_q) && group.verdict == verdict, "{group:?}");
                    ensure!(group.nothing_sent == 0, "7 bytes were sent: {group:?}");
                }
                None => ensure!(group.verdict == "unknown" && group.evidence.contains("does not tell"), "{group:?}"),
            }
            Ok(())
        })?;
        anyhow::Ok(known.groups[0].recv_q.is_some())
    };
    let tells = judged(UNREAD + 1, "eof-unread")?;
    ensure!(tells || !is_at_least(6, 12), "this kernel counts what is read");
    server.receive(&accepted, UNREAD)?;
    judged(0, "unknown")?;
    hunt.finish()?;
    Ok(())
}

/// The transitions of a parent socket. The kernel copies a listener's cookie to the parents that it accepts
/// (`mptcp_sk_clone_init()`, Linux 6.18), so the address of the socket is needed to tell them apart.
fn parent<'a>(trace: &'a Trace, socket: &Socket) -> Result<Vec<&'a Transition>> {
    let shown = trace.of(socket.cookie);
    let remote = socket.remote.context("no peer")?.into();
    let connected = shown.iter().find(|t| t.remote == remote).context("not shown")?;
    Ok(shown.iter().copied().filter(|t| t.skaddr == connected.skaddr).collect())
}

/// What was shown at a parent's local end besides the parents themselves.
fn subflows<'a>(trace: &'a Trace, local: Endpoint, parent: &Transition) -> Vec<&'a Transition> {
    let shown = trace.transitions.iter().filter(|t| t.local == local && t.remote.port != 0);
    shown.filter(|t| t.skaddr != parent.skaddr).collect()
}
