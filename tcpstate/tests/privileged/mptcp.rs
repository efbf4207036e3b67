//! Multipath TCP: the parent socket and its subflows have the same ports and are told apart by their protocol.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    event::{Endpoint, Transition},
    netns::Namespace,
    protocol::Transport,
    run::trials,
    tracer::{Trace, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["mptcp"; parent_and_subflow, fallback_to_tcp]
}

fn parent_and_subflow() -> Result<()> {
    let namespace = Namespace::new()?;
    // Of the namespace, which ends with the test.
    namespace.run("sysctl -q net.mptcp.enabled=1")?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    let opened = client.connect_with(Transport::Mptcp, listener.local)?;
    let accepted = server.accept(&listener)?;
    // MPTCP is established in both directions once data went; before that a FIN falls back.
    client.send(&opened, 1)?;
    server.await_readable(&accepted)?;
    client.close(&opened)?;
    server.await_hangup(&accepted)?;
    tracer.wait_entered("CLOSE_WAIT", &[accepted.cookie])?;
    server.close(&accepted)?;
    tracer.wait_closed(&[opened.cookie, accepted.cookie])?;
    let trace = tracer.finish()?;

    for (actor, socket, via) in [(&client, &opened, "connect"), (&server, &accepted, "accept")] {
        let parent = trace.of(socket.cookie);
        ensure!(parent.iter().all(|t| t.protocol == "mptcp"), "the parent is not shown as mptcp: {parent:?}");
        let owner = actor.owner(socket, via);
        let last = parent.last().and_then(|last| last.owner.as_ref());
        ensure!(last == Some(&owner), "owner of the parent: expected {owner:?}, {last:?}");
        let subflows = subflows(&trace, socket.local.into(), socket.cookie);
        ensure!(!subflows.is_empty(), "no subflow of {}", socket.local);
        ensure!(subflows.iter().all(|t| t.protocol == "tcp"), "a subflow is not shown as tcp: {subflows:?}");
        let strangers = subflows.iter().find(|t| t.owner_pid().is_some_and(|pid| pid != actor.pid));
        ensure!(strangers.is_none(), "a subflow of somebody else: {strangers:?}");
    }
    let of_server = trace.of(accepted.cookie);
    ensure!(of_server.iter().any(|t| t.is("ESTABLISHED", "CLOSE_WAIT")), "{of_server:?}");
    Ok(())
}

/// The peer speaks plain TCP, and so does what is accepted.
fn fallback_to_tcp() -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.run("sysctl -q net.mptcp.enabled=1")?;
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

/// What was shown at a parent's local end besides the parent itself and its listener.
fn subflows(trace: &Trace, local: Endpoint, parent: u64) -> Vec<&Transition> {
    let shown = trace.transitions.iter();
    shown.filter(|t| t.local == local && t.remote.port != 0 && !t.shows(parent)).collect()
}
