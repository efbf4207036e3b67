//! Whose socket it is: who opened it, whoever happens to run when a segment arrives and whoever closes it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    pair::Setting,
    process::Actor,
    protocol::{AcceptCall, Request, Transport},
    run::trials,
    story::Story,
    tracer::Tracer,
};

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "owners";
        fin_of_the_client_is_the_servers, prefork, fork_after_accept, owner_that_exits, one_thread_accepts_another_closes,
        accept_and_accept4, accept_that_has_to_wait, threads_by_their_own_name, exit_closes, ends_in_the_backlog,
          of_another_user,
    ]
}

/// On loopback the client's own process delivers its FIN; `--pid` of the server shows it as the server's.
fn fin_of_the_client_is_the_servers() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::start(["--pid", &pair.server.pid.to_string()])?;
    let connection = pair.open()?;
    pair.client.close(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    pair.server.close(&connection.server)?;
    pair.server.close(&connection.listener)?;
    tracer.wait_closed(&[connection.server.cookie, connection.listener.cookie])?;
    let trace = tracer.finish()?;
    connection.check_server(&pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")?;
    pair.check_listener(&connection.listener, &trace)?;
    ensure!(trace.of(connection.client.cookie).is_empty(), "the client's socket was shown under the server's pid");
    let strangers: Vec<_> = trace.transitions.iter().filter(|t| t.owner_pid() != Some(pair.server.pid)).collect();
    ensure!(strangers.is_empty(), "not of the server: {strangers:?}");
    ensure!(trace.summary.filtered >= 5, "what the client did was not counted as filtered: {:?}", trace.summary);
    Ok(())
}

/// A master listens, its children accept: each connection is its child's from there on.
fn prefork() -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let (master, client) = (Actor::start("ts-master")?, Actor::start("ts-client")?);
    let listener = master.listen(LOCALHOST)?;
    let mut served = Vec::new();
    for _ in 0..3 {
        let child = master.fork()?;
        for _ in 0..2 {
            let peer = client.connect(listener.local)?;
            let accepted = child.accept(&listener)?;
            client.close(&peer)?;
            child.await_hangup(&accepted)?;
            child.close(&accepted)?;
            served.push((child.clone(), accepted));
        }
    }
    tracer.wait_closed(&served.iter().map(|(_, accepted)| accepted.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    for (child, accepted) in &served {
        Story::of(child, accepted)?
            .owned(master.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
            .owned(child.owner(accepted, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

/// The parent accepts and hands the connection to a child: the last to close it is not the one that opened it.
fn fork_after_accept() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    let child = pair.server.fork()?;
    pair.server.close(&connection.server)?;
    pair.client.close(&connection.client)?;
    child.await_hangup(&connection.server)?;
    child.close(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_server(&pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
}

/// The same, and the one that opened it has exited before its child closes.
fn owner_that_exits() -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let (master, client) = (Actor::start("ts-master")?, Actor::start("ts-client")?);
    let listener = master.listen(LOCALHOST)?;
    let worker = master.fork()?;
    let peer = client.connect(listener.local)?;
    let accepted = worker.accept(&listener)?;
    let heir = worker.fork()?;
    let story = Story::of(&worker, &accepted)?;
    let closing = heir.submit(Request::CloseAfterHangup { fd: accepted.fd })?;
    worker.exit()?;
    client.close(&peer)?;
    closing.wait()?;
    tracer.wait_closed(&[accepted.cookie])?;
    story
        .owned(master.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
        .owned(worker.owner(&accepted, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&tracer.finish()?)
}

fn one_thread_accepts_another_closes() -> Result<()> {
    const COUNT: usize = 40;
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let serving = pair.server.submit(Request::AcceptAndCloseByThreads { listener: listener.fd, count: COUNT })?;
    for _ in 0..COUNT {
        let peer = pair.client.connect(listener.local)?;
        pair.client.close(&peer)?;
    }
    let accepted = serving.sockets()?;
    tracer.wait_closed(&accepted.iter().map(|socket| socket.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    ensure!(accepted[0].tid != pair.server.pid, "the accepting thread is the main thread");
    for socket in &accepted {
        let shown = trace.of(socket.cookie);
        let states: Vec<&str> = shown.iter().map(|transition| transition.new.as_str()).collect();
        ensure!(states == ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"], "{states:?}");
        // The FIN may have come before the accept; from the close on there is no doubt.
        let (owner, by_listener) = (pair.server.owner(socket, "accept"), pair.server.owner(&listener, "listen"));
        for transition in shown {
            let returned = transition.mono_ns > socket.opened.to_ns;
            let found = transition.owner.as_ref();
            let expected = found == Some(&owner) || !returned && found == Some(&by_listener);
            ensure!(expected, "expected {owner:?} at {transition}");
        }
    }
    Ok(())
}

fn accept_and_accept4() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let mut accepted = Vec::new();
    for call in [AcceptCall::Accept, AcceptCall::Accept4] {
        let peer = pair.client.connect(listener.local)?;
        let socket = pair.server.accept_by(call, &listener)?;
        pair.server.close(&socket)?;
        pair.client.await_hangup(&peer)?;
        pair.client.close(&peer)?;
        accepted.push(socket);
    }
    tracer.wait_closed(&accepted.iter().map(|socket| socket.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    for socket in &accepted {
        Story::of(&pair.server, socket)?
            .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
            .owned(pair.server.owner(socket, "accept"), "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

/// The usual server: its thread sleeps inside `accept()` when the connection comes.
fn accept_that_has_to_wait() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let accepting = pair.server.thread(1);
    let ticket = accepting.submit(Request::Accept { listener: listener.fd, call: AcceptCall::Accept4, count: 1 })?;
    let peer = pair.client.connect(listener.local)?;
    let accepted = ticket.sockets()?.pop().context("no socket")?;
    pair.client.close(&peer)?;
    pair.server.await_hangup(&accepted)?;
    pair.server.close(&accepted)?;
    tracer.wait_closed(&[accepted.cookie])?;
    Story::of(&pair.server, &accepted)?
        .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
        .owned(pair.server.owner(&accepted, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&tracer.finish()?)
}

/// The name shown is that of the thread when it opened the socket.
fn threads_by_their_own_name() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let listener = server.listen(LOCALHOST)?;
    let tracer = Tracer::unfiltered()?;
    let mut opened = Vec::new();
    for (number, name) in [(1, "ts-worker-one"), (2, "ts worker two")] {
        let thread = client.thread(number);
        thread.set_name(name.as_bytes())?;
        let socket = thread.connect(listener.local)?;
        thread.set_name(b"ts-renamed")?;
        client.reset(&socket)?;
        opened.push((name, socket));
    }
    tracer.wait_closed(&opened.iter().map(|(_, socket)| socket.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    for (name, socket) in &opened {
        ensure!(socket.tid != client.pid, "a thread with the id of its process");
        let mut owner = client.owner(socket, "connect");
        owner.comm = (*name).to_owned();
        Story::of(&client, socket)?.owned(owner, "CLOSE SYN_SENT ESTABLISHED CLOSE").check(&trace)?;
    }
    Ok(())
}

/// What a process leaves open the kernel closes for it, still under its name.
fn exit_closes() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    let story = Story::of(&pair.client, &connection.client)?;
    pair.client.exit()?;
    pair.server.await_hangup(&connection.server)?;
    pair.server.close(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    story
        .owned(pair.client.owner(&connection.client, "connect"), "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
        .check(&trace)?;
    connection.check_server(&pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
}

/// The peer gives up before the connection is accepted: its FIN belongs to whoever listens.
fn ends_in_the_backlog() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let peer = pair.client.connect(listener.local)?;
    pair.client.close(&peer)?;
    tracer.wait_until("CLOSE_WAIT of the child", |shown| {
        shown.iter().any(|t| t.new == "CLOSE_WAIT" && t.remote == peer.local.into())
    })?;
    let accepted = pair.server.accept(&listener)?;
    pair.server.close(&accepted)?;
    tracer.wait_closed(&[accepted.cookie])?;
    Story::of(&pair.server, &accepted)?
        .remote(peer.local)
        .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT")
        .owned(pair.server.owner(&accepted, "accept"), "CLOSE_WAIT LAST_ACK CLOSE")
        .check(&tracer.finish()?)
}

fn of_another_user() -> Result<()> {
    let (server, client) = (Actor::of_user("ts-server", 65_534)?, Actor::of_user("ts-client", 65_533)?);
    let tracer = Tracer::unfiltered()?;
    let listener = server.listen_with(LOCALHOST, Transport::Tcp, false)?;
    let socket = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    server.close(&accepted)?;
    client.await_hangup(&socket)?;
    client.close(&socket)?;
    tracer.wait_closed(&[socket.cookie, accepted.cookie])?;
    let trace = tracer.finish()?;
    Story::of(&client, &socket)?
        .owned(client.owner(&socket, "connect"), "CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&trace)?;
    Story::of(&server, &accepted)?
        .owned(server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
        .owned(server.owner(&accepted, "accept"), "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
        .check(&trace)
}
