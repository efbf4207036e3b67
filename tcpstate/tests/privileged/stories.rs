//! What the kernel side keeps of a socket: it follows that socket and no other, and it ends with it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    hunts,
    support::{
        bpf, clock,
        netns::Namespace,
        pair::Setting,
        process::Actor,
        protocol::Socket,
        run::trials,
        story::Story,
        tracer::{PATIENCE, Tracer},
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "stories";
        reconnected_by_another_thread, address_reused_by_another_socket, of_a_former_socket, end_with_their_sockets,
        none_of_what_filters_reject,
    ]
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

/// A story whose socket's end was not seen lies where a socket of another process is now: that one is not taken for the former.
fn of_a_former_socket() -> Result<()> {
    let (server, watched) = (Actor::start("ts-server")?, Actor::start("ts-watched")?);
    let stranger = Actor::start("ts-stranger")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let everything = Tracer::unfiltered()?;
    let hunt = hunts::json(&["--older-than", "1ms", "--pid", &watched.pid.to_string()])?;
    let (own, other) = (watched.connect(listener.local)?, stranger.connect(listener.local)?);
    let accepted = server.accept_many(&listener, 2)?;
    everything.wait_entered("ESTABLISHED", &[own.cookie, other.cookie])?;
    let shown = everything.finish()?;
    let address = |socket: &Socket| -> Result<u64> {
        let first = shown.of(socket.cookie).first().copied().context("a socket without a transition")?;
        Ok(u64::from_str_radix(first.skaddr.trim_start_matches("0x"), 16)?)
    };
    bpf::copy_story(hunt.pid(), address(&own)?, address(&other)?)?;
    server.close_many(&accepted)?;
    watched.await_hangup(&own)?;
    stranger.await_hangup(&other)?;
    let leaked = clock::monotonic_ns();
    hunt.wait_until("the socket of the watched process, and no other", |report| {
        let looked = report.snapshot_age_ns.is_some_and(|age| report.mono_ns - age > leaked);
        ensure!(looked && report.totals.young == 0, "nobody has looked since then");
        let cookies = report.groups.iter().flat_map(|group| &group.examples).map(|example| example.cookie);
        let cookies: Vec<_> = cookies.collect();
        ensure!(report.totals.close_wait == 1 && cookies == [Some(own.cookie)], "{:?}", report.groups);
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// Nothing is kept of what the filters reject, accepted or not.
fn none_of_what_filters_reject() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let elsewhere = Namespace::new()?;
    let everything = Tracer::unfiltered()?;
    let hunt = hunts::json(&["--netns", &elsewhere.path().to_string_lossy()])?;
    let tracer = Tracer::start(["--netns", &elsewhere.path().to_string_lossy()])?;
    let opened = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    let kept = [bpf::stories(hunt.pid())?, bpf::stories(tracer.pid())?];
    // By then old kernels know the cookies of both.
    client.close(&opened)?;
    everything.wait_entered("FIN_WAIT1", &[opened.cookie])?;
    everything.wait_entered("CLOSE_WAIT", &[accepted.cookie])?;
    let shown = everything.finish()?;
    for socket in [&opened, &accepted] {
        let address = shown.of(socket.cookie).last().context("a socket without a transition")?.skaddr.clone();
        let address = u64::from_str_radix(address.trim_start_matches("0x"), 16)?;
        ensure!(!kept.iter().any(|stories| stories.contains(&address)), "{socket:?} has a story: {kept:x?}");
    }
    hunt.finish()?;
    tracer.finish()?;
    Ok(())
}

/// A long trace must not fill up with sockets that are gone. Those of others come and go meanwhile, and are none of this.
fn end_with_their_sockets() -> Result<()> {
    const CONNECTIONS: usize = 500;
    /// Others may be given the memory of ours, and listeners are kept wherever they are.
    const GIVEN_TO_OTHERS: usize = 50;
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    let opened = client.connect_many(listener.local, CONNECTIONS)?;
    let accepted = server.accept_many(&listener, CONNECTIONS)?;
    let ours = RefCell::new(BTreeSet::new());
    tracer.wait_until("every connection", |shown| {
        let established = shown.iter().filter(|transition| transition.new == "ESTABLISHED");
        let addresses = established.filter_map(|transition| address(&transition.skaddr));
        *ours.borrow_mut() = addresses.collect();
        ours.borrow().len() == 2 * CONNECTIONS
    })?;
    let ours = ours.into_inner();
    let open = bpf::stories(tracer.pid())?;
    ensure!(ours.is_subset(&open), "no stories of {} of our sockets", ours.difference(&open).count());
    client.close_many(&opened)?;
    server.close_many(&accepted)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stories = bpf::stories(tracer.pid())?;
        let left = ours.intersection(&stories).count();
        if left <= GIVEN_TO_OTHERS {
            return tracer.finish().map(drop);
        }
        ensure!(Instant::now() < deadline, "{left} stories are left of {} sockets that are gone", ours.len());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As a trace shows it, such as `0xffff888100a0b000`.
fn address(shown: &str) -> Option<u64> {
    u64::from_str_radix(shown.strip_prefix("0x")?, 16).ok()
}
