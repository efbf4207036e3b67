//! Small programs that an actor runs as a whole, because a request per step would blur their own measurements.

use std::{sync::mpsc, thread};

use rustix::event::PollFlags;

use super::{
    clock,
    protocol::{AcceptCall, Failure, Held, Socket, Span, Transport},
    sockets::{Sockets, await_events},
};

/// Opens `per_listener` connections to each listener, closes their client ends, and holds each server end in `CLOSE_WAIT`
/// for the time of its group. Both ends are of this process, so the moment of the FIN is bracketed tightly.
pub(crate) fn hold_close_wait(
    sockets: &Sockets,
    listeners: &[i32],
    hold_ms: &[u64],
    per_listener: usize,
) -> Result<Vec<Held>, Failure> {
    struct Waiting {
        server: Socket,
        group: usize,
        fin: Span,
        until_ns: u64,
    }
    let mut pairs = Vec::new();
    for (group, &listener) in listeners.iter().enumerate() {
        let address = rustix::net::getsockname(sockets.get(listener)?)?;
        let address = address.try_into().map_err(Failure::from)?;
        for _ in 0..per_listener {
            let client = sockets.connect(None, address, Transport::Tcp)?;
            pairs.push((group, client, sockets.accept(listener, AcceptCall::Accept4)?));
        }
    }
    let mut waiting = Vec::with_capacity(pairs.len());
    for (group, client, server) in pairs {
        let from_ns = clock::monotonic_ns();
        sockets.close(client.fd)?;
        await_events(sockets.get(server.fd)?, PollFlags::RDHUP)?;
        let fin = Span { from_ns, to_ns: clock::monotonic_ns() };
        waiting.push(Waiting { server, group, fin, until_ns: fin.to_ns + hold_ms[group] * 1_000_000 });
    }
    waiting.sort_by_key(|waiting| waiting.until_ns);
    let closes = waiting.into_iter().map(|Waiting { server, group, fin, until_ns }| {
        clock::sleep_until_ns(until_ns);
        let from_ns = clock::monotonic_ns();
        sockets.close(server.fd)?;
        Ok(Held { cookie: server.cookie, group, fin, close: Span { from_ns, to_ns: clock::monotonic_ns() } })
    });
    closes.collect()
}

/// One thread accepts while another closes what it was handed, as soon as the peer has closed.
pub(crate) fn accept_and_close_by_threads(
    sockets: &Sockets,
    listener: i32,
    count: usize,
) -> Result<Vec<Socket>, Failure> {
    let (hand_over, handed_over) = mpsc::channel::<i32>();
    thread::scope(|scope| {
        let closing = scope.spawn(move || {
            handed_over.into_iter().try_for_each(|fd| {
                await_events(sockets.get(fd)?, PollFlags::RDHUP)?;
                sockets.close(fd)
            })
        });
        let accepting = scope.spawn(move || {
            let accepted = (0..count).map(|_| {
                let socket = sockets.accept(listener, AcceptCall::Accept4)?;
                hand_over.send(socket.fd).map_err(|_| Failure::new("the closing thread is gone"))?;
                Ok(socket)
            });
            accepted.collect::<Result<Vec<_>, Failure>>()
        });
        let panicked = |_| Failure::new("a thread panicked");
        let accepted = accepting.join().map_err(panicked)??;
        closing.join().map_err(panicked)??;
        Ok(accepted)
    })
}
