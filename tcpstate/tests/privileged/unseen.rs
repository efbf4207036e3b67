//! Transitions that the kernel runs no program for: what comes after shows that there were some, and the summary says so.
//!
//! No kernel can be asked to skip programs, so stories are set back by hand to where a skipped one would have left them. That kernels
//! do it was seen: see docs/limits.md.

use std::{cell::Cell, collections::HashSet, net::Ipv4Addr};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use tcpstate_common::state::TcpState;

use crate::support::{
    bpf,
    event::Summary,
    netns::Namespace,
    pair::{Pair, Setting},
    protocol::Socket,
    run::trials,
    tracer::Tracer,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["unseen"; in_the_middle, before_the_end, with_the_end, none_in_an_ordinary_life]
}

/// Twice in the life of one socket. Nothing is told of the times in the states that it was not seen to enter.
fn in_the_middle() -> Result<()> {
    let (pair, listener, tracer) = watched()?;
    let client = pair.client.connect(listener.local)?;
    let server = pair.server.accept(&listener)?;
    let story = address(&tracer, client.cookie, "ESTABLISHED")?;
    bpf::write_story(tracer.pid(), story, story, TcpState::SynSent as u8)?;
    // Closed, it would go on to TIME_WAIT by itself.
    pair.client.shutdown_write(&client)?;
    tracer.wait_entered("FIN_WAIT2", &[client.cookie])?;
    bpf::write_story(tracer.pid(), story, story, TcpState::Established as u8)?;
    pair.server.close(&server)?;
    tracer.wait_closed(&[client.cookie])?;
    let trace = tracer.finish()?;
    check(&trace.summary, 2, 1)?;
    let shown = trace.of(client.cookie);
    let known: Vec<_> = shown.iter().map(|t| (t.old.as_str(), t.in_old_ns.is_some())).collect();
    let expected =
        [("CLOSE", false), ("SYN_SENT", true), ("ESTABLISHED", false), ("FIN_WAIT1", true), ("FIN_WAIT2", false)];
    ensure!(known == expected, "times known: {known:?}");
    Ok(())
}

/// A socket ends in another state than CLOSE.
fn before_the_end() -> Result<()> {
    let (pair, listener, tracer) = watched()?;
    let client = pair.client.connect(listener.local)?;
    let server = pair.server.accept(&listener)?;
    pair.client.shutdown_write(&client)?;
    pair.server.shutdown_write(&server)?;
    let story = address(&tracer, client.cookie, "CLOSE")?;
    bpf::write_story(tracer.pid(), story, story, TcpState::FinWait1 as u8)?;
    pair.client.close(&client)?;
    check(&tracer.finish()?.summary, 1, 1)
}

/// Its end is not seen either: the next socket at its address shows that.
fn with_the_end() -> Result<()> {
    let (pair, listener, tracer) = watched()?;
    let kept = pair.client.connect(listener.local)?;
    let kept = address(&tracer, kept.cookie, "ESTABLISHED")?;
    let mut left_behind = HashSet::new();
    for _ in 0..200 {
        let gone = pair.client.connect(listener.local)?;
        pair.client.reset(&gone)?;
        let gone = address(&tracer, gone.cookie, "CLOSE")?;
        if !left_behind.insert(gone) {
            let summary = tracer.finish()?.summary;
            // Others may have come to such an address before.
            return check(&summary, summary.unseen_at_least.max(1), summary.unseen_at_least.max(1));
        }
        bpf::write_story(tracer.pid(), gone, kept, TcpState::FinWait1 as u8)?;
    }
    bail!("no later socket came to the address of a former one, so nothing was tried")
}

/// Every way into and out of a state is one that a story knows.
fn none_in_an_ordinary_life() -> Result<()> {
    /// The kernel may really skip some.
    const ATTEMPTS: usize = 3;
    let mut said = None;
    for _ in 0..ATTEMPTS {
        let summary = ordinary_life()?;
        if summary.unseen_at_least == 0 {
            return Ok(());
        }
        said = Some(summary);
    }
    bail!("in each of {ATTEMPTS} attempts something was not seen: {said:?}")
}

fn ordinary_life() -> Result<Summary> {
    const CONNECTIONS: usize = 200;
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let before = client.connect_many(listener.local, CONNECTIONS)?;
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let since = client.connect_many(listener.local, CONNECTIONS)?;
    let accepted = server.accept_many(&listener, 2 * CONNECTIONS)?;
    client.close_many(&before)?;
    let (half, rest) = accepted.split_at(CONNECTIONS + CONNECTIONS / 2);
    server.close_many(half)?;
    client.close_many(&since)?;
    rest.iter().try_for_each(|socket| server.reset(socket).map(drop))?;
    tracer.wait_closed(&since.iter().map(|socket| socket.cookie).collect::<Vec<_>>())?;
    Ok(tracer.finish()?.summary)
}

/// A pair of processes with a listener, and a tracer of its clients.
fn watched() -> Result<(Pair, Socket, Tracer)> {
    let pair = Setting::Ipv4.pair()?;
    let listener = pair.listen()?;
    let tracer = Tracer::start(["--rport", &listener.local.port().to_string()])?;
    Ok((pair, listener, tracer))
}

/// The address of the socket with this cookie, once it is shown to enter a state.
fn address(tracer: &Tracer, cookie: u64, state: &str) -> Result<u64> {
    let address = Cell::new(None);
    tracer.wait_until("the socket", |shown| {
        let entered = shown.iter().find(|t| t.shows(cookie) && t.new == state);
        address.set(entered.and_then(|t| u64::from_str_radix(t.skaddr.trim_start_matches("0x"), 16).ok()));
        address.get().is_some()
    })?;
    address.get().context("just shown")
}

fn check(summary: &Summary, transitions: u64, sockets: u64) -> Result<()> {
    let counted = (summary.unseen_at_least, summary.unseen_sockets);
    ensure!(counted == (transitions, sockets), "expected {transitions} of {sockets}: {summary:?}");
    Ok(())
}
