//! What the kernel side keeps of a socket: it follows that socket and no other, and it ends with it.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    bpf,
    netns::Namespace,
    pair::Setting,
    process::Actor,
    run::trials,
    story::Story,
    tracer::{PATIENCE, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["stories"; reconnected_by_another_thread, address_reused_by_another_socket, end_with_their_sockets]
}

/// A socket can be connected more than once; the time in CLOSE between is known, and the owner is who did it last.
fn reconnected_by_another_thread() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.disconnect(&connection.client)?;
    let again = pair.client.thread(1).reconnect(&connection.client, connection.listener.local)?;
    pair.client.reset(&again)?;
    ensure!(again.cookie == connection.client.cookie && again.tid != connection.client.tid, "{again:?}");
    tracer.wait_until("the second end", |shown| {
        shown.iter().filter(|t| t.shows(again.cookie) && t.is("ESTABLISHED", "CLOSE")).count() == 2
    })?;
    let trace = tracer.finish()?;
    let shown = trace.of(again.cookie);
    let states: Vec<&str> = shown.iter().map(|transition| transition.new.as_str()).collect();
    ensure!(states == ["SYN_SENT", "ESTABLISHED", "CLOSE", "SYN_SENT", "ESTABLISHED", "CLOSE"], "{states:?}");
    let since = shown[3].mono_ns - shown[2].mono_ns;
    ensure!(shown[3].in_old_ns == Some(since), "{since} ns in CLOSE at {}", shown[3]);
    for (transition, socket) in shown.iter().zip([[&connection.client; 3], [&again; 3]].concat()) {
        let owner = pair.client.owner(socket, "connect");
        ensure!(transition.owner.as_ref() == Some(&owner), "expected {owner:?} at {transition}");
    }
    Ok(())
}

/// The kernel gives the memory of a closed socket to the next one, which inherits nothing of its story.
fn address_reused_by_another_socket() -> Result<()> {
    let (server, first, second) = (Actor::start("ts-server")?, Actor::start("ts-first")?, Actor::start("ts-second")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let tracer = Tracer::start(["--rport", &listener.local.port().to_string()])?;
    let mut opened = Vec::new();
    for _ in 0..100 {
        for actor in [&first, &second] {
            let socket = actor.connect(listener.local)?;
            actor.reset(&socket)?;
            opened.push((actor, socket));
        }
    }
    tracer.wait_closed(&opened.iter().map(|(_, socket)| socket.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    let addresses: HashSet<&str> = trace.transitions.iter().map(|transition| transition.skaddr.as_str()).collect();
    ensure!(addresses.len() < opened.len(), "no address was used twice, so nothing was tried");
    for (actor, socket) in &opened {
        // That of a new socket: no time in CLOSE.
        Story::of(actor, socket)?
            .owned(actor.owner(socket, "connect"), "CLOSE SYN_SENT ESTABLISHED CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

/// A long trace must not fill up with sockets that are gone.
fn end_with_their_sockets() -> Result<()> {
    const CONNECTIONS: usize = 500;
    /// Listeners are kept wherever they are, and others may open some meanwhile.
    const OF_OTHERS: usize = 50;
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let before = bpf::stories(tracer.pid())?;
    let opened = client.connect_many(listener.local, CONNECTIONS)?;
    let accepted = server.accept_many(&listener, CONNECTIONS)?;
    let open = bpf::stories(tracer.pid())?;
    ensure!(open >= before + 2 * CONNECTIONS, "{before} stories before, {open} with {CONNECTIONS} connections");
    client.close_many(&opened)?;
    server.close_many(&accepted)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = bpf::stories(tracer.pid())?;
        if left <= before + OF_OTHERS {
            return tracer.finish().map(drop);
        }
        ensure!(Instant::now() < deadline, "{before} stories before, {left} after {CONNECTIONS} connections");
        std::thread::sleep(Duration::from_millis(10));
    }
}
