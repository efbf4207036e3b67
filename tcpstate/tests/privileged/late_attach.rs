//! The tracer comes late: sockets that are open already have owners, endpoints, and a time that is a lower bound.

use std::{fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    states::wait_for,
    support::{
        event::Transition,
        pair::Setting,
        process::Actor,
        protocol::{AcceptCall, Request, Socket, Transport},
        run::trials,
        ss,
        story::Story,
        tracer::Tracer,
    },
};

/// Connections; each has two ends.
const CONNECTIONS: usize = 1000;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["late_attach"; to_a_thousand_connections, to_a_listener, to_a_close_wait_in_every_setting, to_a_backlog,
        to_an_accept_under_way, to_an_inherited_listener, to_a_shared_port, agrees_with_ss]
}

fn to_a_thousand_connections() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let opened = client.connect_many(listener.local, CONNECTIONS)?;
    let accepted = server.accept_many(&listener, CONNECTIONS)?;
    let tracer = Tracer::unfiltered()?;
    let closing = client.close_many(&opened)?;
    let cookies = |sockets: &[Socket]| sockets.iter().map(|socket| socket.cookie).collect::<Vec<_>>();
    tracer.wait_entered("CLOSE_WAIT", &cookies(&accepted))?;
    server.close_many(&accepted)?;
    tracer.wait_closed(&cookies(&opened))?;
    tracer.wait_closed(&cookies(&accepted))?;
    let trace = tracer.finish()?;
    for (actor, sockets, states) in [
        (&client, &opened, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE"),
        (&server, &accepted, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE"),
    ] {
        for socket in sockets {
            let mut owner = actor.owner(socket, "snapshot");
            owner.tid = actor.pid;
            Story::of(actor, socket)?.older_than_tracer().owned(owner, states).check(&trace)?;
            let at_least = trace.of(socket.cookie)[0].in_old_at_least_ns;
            let age_ns = closing.to_ns - socket.opened.from_ns;
            ensure!(at_least.is_some_and(|ns| (1..=age_ns).contains(&ns)), "{at_least:?} at an age of {age_ns} ns");
        }
    }
    let established = trace.dwell("ESTABLISHED")?;
    ensure!(established.at_least >= 2 * CONNECTIONS as u64, "≥ times are not counted apart: {established:?}");
    Ok(())
}

/// The listener is older, what it accepts is not.
fn to_a_listener() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let listener = pair.listen()?;
    let tracer = Tracer::unfiltered()?;
    let peer = pair.client.connect(listener.local)?;
    let accepted = pair.server.accept(&listener)?;
    pair.client.close(&peer)?;
    pair.server.await_hangup(&accepted)?;
    pair.server.close(&accepted)?;
    pair.server.close(&listener)?;
    tracer.wait_closed(&[accepted.cookie, listener.cookie])?;
    let trace = tracer.finish()?;
    Story::of(&pair.server, &listener)?
        .older_than_tracer()
        .owned(pair.server.owner(&listener, "snapshot"), "LISTEN CLOSE")
        .check(&trace)?;
    Story::of(&pair.server, &accepted)?
        .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
        .owned(pair.server.owner(&accepted, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&trace)
}

/// The case that people call for help with: the leak is there already. In every family and namespace.
fn to_a_close_wait_in_every_setting() -> Result<()> {
    for setting in Setting::ALL {
        let pair = setting.pair()?;
        let connection = pair.open()?;
        let closed = pair.client.close(&connection.client)?;
        pair.server.await_hangup(&connection.server)?;
        let tracer = Tracer::unfiltered()?;
        let close = pair.server.close(&connection.server)?;
        tracer.wait_closed(&[connection.server.cookie])?;
        let trace = tracer.finish()?;
        Story::of(&pair.server, &connection.server)?
            .remote(connection.client.local)
            .older_than_tracer()
            .owned(pair.server.owner(&connection.server, "snapshot"), "CLOSE_WAIT LAST_ACK CLOSE")
            .check(&trace)?;
        let at_least = trace.of(connection.server.cookie)[0].in_old_at_least_ns;
        let age_ns = close.to_ns - closed.from_ns;
        ensure!(at_least.is_some_and(|ns| (1..=age_ns).contains(&ns)), "{at_least:?} at an age of {age_ns} ns");
    }
    Ok(())
}

/// Connections that nobody has accepted have no descriptor anywhere; accepting them gives them their owner.
fn to_a_backlog() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let listener = pair.listen()?;
    let (left, taken) = (pair.client.connect(listener.local)?, pair.client.connect(listener.local)?);
    // The kernel hands them out in order, so the one that is to stay in the backlog goes last.
    let tracer = Tracer::unfiltered()?;
    let first = pair.server.accept(&listener)?;
    ensure!(first.remote == Some(left.local), "{first:?} is not the first");
    pair.client.close(&left)?;
    pair.client.close(&taken)?;
    pair.server.await_hangup(&first)?;
    pair.server.close(&first)?;
    tracer.wait_until("CLOSE_WAIT in the backlog", |shown| {
        shown.iter().any(|t| t.new == "CLOSE_WAIT" && t.remote == taken.local.into())
    })?;
    pair.server.close(&listener)?;
    tracer.wait_closed(&[first.cookie, listener.cookie])?;
    tracer.wait_until("the end in the backlog", |shown| {
        shown.iter().any(|t| t.new == "CLOSE" && t.remote == taken.local.into())
    })?;
    let trace = tracer.finish()?;
    Story::of(&pair.server, &first)?
        .older_than_tracer()
        .owned(pair.server.owner(&first, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
        .check(&trace)?;
    let mut waiting = listener.clone();
    waiting.cookie = trace.cookie_between(listener.local.into(), taken.local.into())?;
    Story::of(&pair.server, &waiting)?
        .remote(taken.local)
        .older_than_tracer()
        .owned(pair.server.owner(&listener, "listen"), "ESTABLISHED CLOSE_WAIT CLOSE")
        .check(&trace)
}

/// Threads that wait in `accept()` entered it before the tracer could see them.
fn to_an_accept_under_way() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let listener = pair.listen()?;
    let calls = [(AcceptCall::Accept, libc::SYS_accept), (AcceptCall::Accept4, libc::SYS_accept4)];
    let mut waiting = Vec::new();
    for (thread, (call, number)) in (1..).zip(calls) {
        let request = Request::Accept { listener: listener.fd, call, count: 1 };
        waiting.push(pair.server.thread(thread).submit(request)?);
        wait_for("a thread in `accept()`", || is_in_call(pair.server.pid, number))?;
    }
    let tracer = Tracer::unfiltered()?;
    let mut served = Vec::new();
    // The kernel wakes them in the order in which they came.
    for ticket in waiting {
        let peer = pair.client.connect(listener.local)?;
        let accepted = ticket.sockets()?.pop().context("no socket")?;
        pair.client.close(&peer)?;
        pair.server.await_hangup(&accepted)?;
        pair.server.close(&accepted)?;
        tracer.wait_closed(&[accepted.cookie])?;
        served.push(accepted);
    }
    let trace = tracer.finish()?;
    for accepted in served {
        Story::of(&pair.server, &accepted)?
            .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
            .owned(pair.server.owner(&accepted, "accept"), "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

fn is_in_call(pid: u32, number: i64) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let call = fs::read_to_string(task?.path().join("syscall"))?;
        if call.split(' ').next() == Some(number.to_string().as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Several processes hold a prefork server's listener; `--pid` of a worker shows what that worker accepts.
fn to_an_inherited_listener() -> Result<()> {
    let (master, client) = (Actor::start("ts-master")?, Actor::start("ts-client")?);
    let listener = master.listen((Ipv4Addr::LOCALHOST, 0))?;
    let (worker, sibling) = (master.fork()?, master.fork()?);
    let tracer = Tracer::start(["--pid", &worker.pid.to_string()])?;
    let mut cookies = Vec::new();
    for actor in [&worker, &sibling] {
        let peer = client.connect(listener.local)?;
        let accepted = actor.accept(&listener)?;
        client.close(&peer)?;
        actor.await_hangup(&accepted)?;
        actor.close(&accepted)?;
        cookies.push((actor.owner(&accepted, "accept"), accepted.cookie));
    }
    tracer.wait_closed(&[cookies[0].1])?;
    let trace = tracer.finish()?;
    let shown = trace.of(cookies[0].1);
    let states: Vec<&str> = shown.iter().map(|transition| transition.new.as_str()).collect();
    ensure!(states == ["CLOSE_WAIT", "LAST_ACK", "CLOSE"], "{states:?}");
    ensure!(shown.iter().all(|transition| transition.owner.as_ref() == Some(&cookies[0].0)), "{shown:?}");
    let strangers: Vec<_> = trace.transitions.iter().filter(|t| t.owner_pid() != Some(worker.pid)).collect();
    ensure!(strangers.is_empty(), "not of the worker: {strangers:?}");
    Ok(())
}

/// Two processes share a port since before the tracer: what waits there is nobody's, what is accepted is the acceptor's.
fn to_a_shared_port() -> Result<()> {
    let (one, other, client) = (Actor::start("ts-one")?, Actor::start("ts-other")?, Actor::start("ts-client")?);
    let first = one.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Tcp, true)?;
    let second = other.listen_with(first.local, Transport::Tcp, true)?;
    let tracer = Tracer::unfiltered()?;
    let before = client.connect(first.local)?;
    let queue = |listener: &Socket| -> Result<usize> {
        let listed = ss::with_local_port(listener.local.port())?;
        Ok(listed.iter().find(|listed| listed.cookie == listener.cookie).map_or(0, |listed| listed.recv_queue))
    };
    let (actor, listener) = if queue(&first)? == 1 { (&one, &first) } else { (&other, &second) };
    let accepted = actor.accept(listener)?;
    client.reset(&before)?;
    tracer.wait_closed(&[accepted.cookie])?;
    Story::of(actor, &accepted)?
        .remote(before.local)
        .ownerless("LISTEN SYN_RECV ESTABLISHED")
        .owned(actor.owner(&accepted, "accept"), "ESTABLISHED CLOSE")
        .check(&tracer.finish()?)
}

/// At a moment of rest the state last shown of each socket is the one that the kernel lists.
fn agrees_with_ss() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let clients = pair.client.connect_many(listener.local, 4)?;
    let accepted = pair.server.accept_many(&listener, 3)?;
    pair.client.close(&clients[0])?;
    pair.client.shutdown_write(&clients[1])?;
    pair.server.await_hangup(&accepted[0])?;
    pair.server.await_hangup(&accepted[1])?;
    tracer.wait_entered("CLOSE_WAIT", &[accepted[0].cookie, accepted[1].cookie])?;
    let listed = ss::with_local_port(listener.local.port())?;
    let trace = tracer.finish()?;
    ensure!(listed.len() == 5, "a listener, three accepted and one waiting: {listed:?}");
    for socket in &listed {
        // Before 5.12 one that waits to be accepted has no cookie until `ss` asks for it.
        let nameless = |shown: &&Transition| {
            shown.cookie.is_none()
                && shown.local == socket.local.into()
                && socket.remote.is_some_and(|remote| shown.remote == remote.into())
        };
        let last = trace.of(socket.cookie).into_iter().last();
        let last = last.or_else(|| trace.transitions.iter().rfind(nameless));
        let last = last.ok_or_else(|| anyhow::anyhow!("{socket:?} was not shown"))?;
        ensure!(last.new == socket.state, "{socket:?} at {last}");
        ensure!(last.local == socket.local.into(), "{socket:?} at {last}");
        ensure!(socket.remote.is_none_or(|remote| last.remote == remote.into()), "{socket:?} at {last}");
    }
    Ok(())
}
