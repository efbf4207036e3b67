//! Connections that nobody has accepted yet belong to whoever listens, where that can be told.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    event::{Endpoint, Owner, Transition},
    netns::Namespace,
    process::Actor,
    protocol::{Socket, Transport},
    run::trials,
    ss,
    story::Story,
    tracer::{Trace, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "listeners";
        shared_port_of_two_processes, shared_port_of_one_process, same_port_on_other_addresses,
        same_port_in_other_namespaces, wildcard_beside_an_address, successor_on_the_same_port, dual_stack_wildcard,
    ]
}

/// A network namespace where nobody else is, and a tracer of all that is in it. What a busy machine does elsewhere would fill the
/// buffer of a tracer of everything.
fn alone() -> Result<(Namespace, Tracer)> {
    let namespace = Namespace::new()?;
    let tracer = Tracer::start(["--netns", &namespace.path().to_string_lossy()])?;
    Ok((namespace, tracer))
}

/// Under `SO_REUSEPORT` nothing tells which of several processes a connection waits for, so nobody is named.
fn shared_port_of_two_processes() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (one, other, client) =
        (namespace.actor("ts-one")?, namespace.actor("ts-other")?, namespace.actor("ts-client")?);
    let first = one.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Tcp, true)?;
    let second = other.listen_with(first.local, Transport::Tcp, true)?;
    // The kernel spreads connections over both; which got which is known once they are all readable.
    let clients = client.connect_many(first.local, 16)?;
    let mut accepted = Vec::new();
    for (actor, listener) in [(&one, &first), (&other, &second)] {
        accepted.extend(accept_waiting(actor, listener)?.into_iter().map(|socket| (actor, socket)));
    }
    ensure!(accepted.len() == clients.len(), "{} of {} accepted", accepted.len(), clients.len());
    for (actor, socket) in &accepted {
        actor.close(socket)?;
    }
    tracer.wait_closed(&accepted.iter().map(|(_, socket)| socket.cookie).collect::<Vec<_>>())?;
    let trace = tracer.finish()?;
    for (actor, socket) in &accepted {
        Story::of(actor, socket)?
            .ownerless("LISTEN SYN_RECV ESTABLISHED")
            .owned(actor.owner(socket, "accept"), "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

/// Several listeners of one process are still that process.
fn shared_port_of_one_process() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let first = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Tcp, true)?;
    let second = server.listen_with(first.local, Transport::Tcp, true)?;
    let clients = client.connect_many(first.local, 8)?;
    let trace = reset_all(tracer, &client, &clients)?;
    for socket in &clients {
        let owner = waiting_owner(&trace, socket)?;
        ensure!(owner.as_ref().map(|owner| owner.pid) == Some(server.pid), "{owner:?} for {}", second.local);
    }
    Ok(())
}

fn same_port_on_other_addresses() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (one, other, client) =
        (namespace.actor("ts-one")?, namespace.actor("ts-other")?, namespace.actor("ts-client")?);
    let first = one.listen((Ipv4Addr::new(127, 0, 0, 41), 0))?;
    let second = other.listen((Ipv4Addr::new(127, 0, 0, 42), first.local.port()))?;
    let clients = vec![client.connect(first.local)?, client.connect(second.local)?];
    let trace = reset_all(tracer, &client, &clients)?;
    for ((actor, listener), socket) in [(&one, &first), (&other, &second)].into_iter().zip(&clients) {
        let owner = waiting_owner(&trace, socket)?;
        ensure!(owner == Some(actor.owner(listener, "listen")), "{owner:?} for {}", listener.local);
    }
    Ok(())
}

fn same_port_in_other_namespaces() -> Result<()> {
    let namespaces = [Namespace::new()?, Namespace::new()?];
    let tracer = Tracer::unfiltered()?;
    let mut opened = Vec::new();
    for namespace in &namespaces {
        let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
        let listener = server.listen((Ipv4Addr::LOCALHOST, 7070))?;
        let socket = client.connect_from((Ipv4Addr::LOCALHOST, 7171).into(), listener.local)?;
        let accepted = server.accept(&listener)?;
        server.close(&accepted)?;
        client.await_hangup(&socket)?;
        client.close(&socket)?;
        opened.push((server, client, listener, socket, accepted));
    }
    for (.., socket, accepted) in &opened {
        tracer.wait_closed(&[socket.cookie, accepted.cookie])?;
    }
    let trace = tracer.finish()?;
    for (server, client, listener, socket, accepted) in &opened {
        Story::of(server, accepted)?
            .owned(server.owner(listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
            .owned(server.owner(accepted, "accept"), "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
            .check(&trace)?;
        Story::of(client, socket)?
            .bound_before_connect()
            .owned(client.owner(socket, "connect"), "CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

/// The more specific listener gets the connection: the other must not be named.
fn wildcard_beside_an_address() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (wild, exact, client) =
        (namespace.actor("ts-wild")?, namespace.actor("ts-exact")?, namespace.actor("ts-client")?);
    let wildcard = wild.listen_with((Ipv4Addr::UNSPECIFIED, 0), Transport::Tcp, true)?;
    let address: SocketAddr = (Ipv4Addr::new(127, 0, 0, 43), wildcard.local.port()).into();
    let specific = exact.listen_with(address, Transport::Tcp, true)?;
    let elsewhere: SocketAddr = (Ipv4Addr::new(127, 0, 0, 44), wildcard.local.port()).into();
    let clients = vec![client.connect(specific.local)?, client.connect(elsewhere)?];
    let trace = reset_all(tracer, &client, &clients)?;
    for ((actor, listener), socket) in [(&exact, &specific), (&wild, &wildcard)].into_iter().zip(&clients) {
        let owner = waiting_owner(&trace, socket)?;
        ensure!(owner == Some(actor.owner(listener, "listen")), "{owner:?} for {}", listener.local);
    }
    Ok(())
}

/// A restarted server listens where its predecessor did.
fn successor_on_the_same_port() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (old, new, client) = (namespace.actor("ts-old")?, namespace.actor("ts-new")?, namespace.actor("ts-client")?);
    let first = old.listen((Ipv4Addr::LOCALHOST, 0))?;
    old.close(&first)?;
    let second = new.listen(first.local)?;
    let clients = client.connect_many(second.local, 1)?;
    let trace = reset_all(tracer, &client, &clients)?;
    let owner = waiting_owner(&trace, &clients[0])?;
    ensure!(owner == Some(new.owner(&second, "listen")), "{owner:?}");
    Ok(())
}

/// An IPv6 wildcard listener takes IPv4 connections too.
fn dual_stack_wildcard() -> Result<()> {
    let (namespace, tracer) = alone()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local.port();
    let clients =
        vec![client.connect((Ipv4Addr::LOCALHOST, port).into())?, client.connect((Ipv6Addr::LOCALHOST, port).into())?];
    let trace = reset_all(tracer, &client, &clients)?;
    for socket in &clients {
        let owner = waiting_owner(&trace, socket)?;
        ensure!(owner == Some(server.owner(&listener, "listen")), "{owner:?} for {socket:?}");
    }
    Ok(())
}

/// Accepts as long as something waits.
fn accept_waiting(actor: &Actor, listener: &Socket) -> Result<Vec<Socket>> {
    let waiting = ss::inside(&actor.netns_path(), &format!("sport = :{}", listener.local.port()))?;
    let queue = waiting.iter().find(|listed| listed.cookie == listener.cookie).map_or(0, |listed| listed.recv_queue);
    actor.accept_many(listener, queue)
}

/// The clients give up without having been accepted; waits until both ends of each were shown to be over.
fn reset_all(tracer: Tracer, client: &Actor, sockets: &[Socket]) -> Result<Trace> {
    for socket in sockets {
        client.reset(socket)?;
        tracer.wait_until("the end of a child", |shown| {
            shown.iter().any(|t| is_other_end(t, socket) && t.new == "CLOSE")
        })?;
    }
    tracer.finish()
}

/// Whether this is of the server's end of a client's connection, and not of somebody else's at the same port.
fn is_other_end(transition: &Transition, client: &Socket) -> bool {
    let end = |end: Endpoint| SocketAddr::new(end.addr.to_canonical(), end.port);
    let connection = client.remote.map(|remote| (remote, client.local));
    Some((end(transition.local), end(transition.remote))) == connection
}

/// Who was shown to own the server's end of a connection that was never accepted: the same all along.
fn waiting_owner(trace: &Trace, client: &Socket) -> Result<Option<Owner>> {
    // Up to Linux 6.12 the first of them does not name the peer yet.
    let named = trace.transitions.iter().filter(|t| is_other_end(t, client));
    let ids: BTreeSet<u64> = named.filter_map(|transition| transition.id).collect();
    ensure!(ids.len() == 1, "sockets connected to {}: {ids:?}", client.local);
    let shown: Vec<_> = trace.transitions.iter().filter(|t| t.id.is_some_and(|id| ids.contains(&id))).collect();
    let states: Vec<&str> = shown.iter().map(|transition| transition.new.as_str()).collect();
    ensure!(states == ["SYN_RECV", "ESTABLISHED", "CLOSE"], "{states:?}");
    ensure!(shown.iter().all(|transition| transition.owner == shown[0].owner), "the owner changed: {shown:?}");
    Ok(shown[0].owner.clone())
}
