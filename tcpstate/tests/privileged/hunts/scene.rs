//! A server that leaves what it accepts alone.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::support::{
    process::Actor,
    protocol::{Socket, Span},
    ss::{self, Listed},
};

/// A server, what connects to it, and a listener.
pub(super) struct Leaky {
    pub(super) server: Actor,
    pub(super) client: Actor,
    pub(super) listener: Socket,
}

/// A socket in `CLOSE_WAIT`, and when its peer closed.
pub(super) struct Leaked {
    pub(super) socket: Socket,
    pub(super) fin: Span,
}

impl Leaky {
    pub(super) fn new() -> Result<Self> {
        Self::of(Actor::start("ts-server")?, Actor::start("ts-client")?)
    }

    pub(super) fn of(server: Actor, client: Actor) -> Result<Self> {
        let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { server, client, listener })
    }

    /// The same processes, another listener.
    pub(super) fn another(&self) -> Result<Self> {
        Self::of(self.server.clone(), self.client.clone())
    }

    pub(super) fn port(&self) -> String {
        self.listener.local.port().to_string()
    }

    /// Leaves so many sockets in `CLOSE_WAIT`.
    pub(super) fn leak(&self, count: usize) -> Result<Vec<Leaked>> {
        let one = |_| {
            let peer = self.client.connect(self.listener.local)?;
            let socket = self.server.accept(&self.listener)?;
            let fin = self.client.close(&peer)?;
            self.server.await_hangup(&socket)?;
            Ok(Leaked { socket, fin })
        };
        (0..count).map(one).collect()
    }

    /// What `ss` finds of them in the namespace of the server.
    pub(super) fn listed(&self) -> Result<Vec<Listed>> {
        let netns = self.server.netns_path();
        let listed = ss::inside(&netns, &format!("sport = :{}", self.listener.local.port()))?;
        Ok(listed.into_iter().filter(|socket| socket.state == "CLOSE_WAIT").collect())
    }
}
