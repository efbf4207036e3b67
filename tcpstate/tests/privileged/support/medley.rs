//! Traffic of every kind, for filters to choose from.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::{
    netns::Namespace,
    process::Actor,
    protocol::{Socket, Transport},
};

/// An address that only one connection of the medley uses.
pub(crate) const APART: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 77);

/// Two servers and two clients here, a server and a client elsewhere.
pub(crate) struct Medley {
    pub(crate) servers: [Actor; 2],
    pub(crate) clients: [Actor; 2],
    pub(crate) elsewhere: Namespace,
    far: [Actor; 2],
    /// One for each entry of the plan.
    pub(crate) listeners: Vec<Socket>,
}

impl Medley {
    /// Everybody is there and listens, nobody is connected.
    pub(crate) fn new() -> Result<Self> {
        let elsewhere = Namespace::new()?;
        let far = [elsewhere.actor("ts-far-server")?, elsewhere.actor("ts-far-client")?];
        let servers = [Actor::start("ts-server-one")?, Actor::start("ts-server-two")?];
        let clients = [Actor::start("ts-client-one")?, Actor::start("ts-client-two")?];
        let mut medley = Self { servers, clients, elsewhere, far, listeners: Vec::new() };
        medley.listeners = medley.plan().iter().map(|(server, _, at, _)| server.listen(*at)).collect::<Result<_>>()?;
        Ok(medley)
    }

    /// Server, client, where the server listens, which address the client uses.
    fn plan(&self) -> [(&Actor, &Actor, SocketAddr, Option<SocketAddr>); 6] {
        let [one, two] = &self.servers;
        let [first, second] = &self.clients;
        let [far_server, far_client] = &self.far;
        let v4: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 0).into();
        let mapped: SocketAddr = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0).into();
        [
            (one, first, v4, None),
            (one, second, v6, None),
            (two, first, v4, Some((APART, 0).into())),
            (two, second, mapped, None),
            (two, first, (APART, 0).into(), None),
            (far_server, far_client, v4, None),
        ]
    }

    /// Every connection is opened, closed by its client and then by its server. Returns the cookies of both ends.
    pub(crate) fn play(&self) -> Result<Vec<u64>> {
        let mut cookies = Vec::new();
        for ((server, client, _, from), listener) in self.plan().into_iter().zip(&self.listeners) {
            let opened = match from {
                Some(from) => client.connect_from(from, listener.local)?,
                None => client.connect_with(Transport::Tcp, listener.local)?,
            };
            let accepted = server.accept(listener)?;
            client.close(&opened)?;
            server.await_hangup(&accepted)?;
            server.close(&accepted)?;
            cookies.extend([opened.cookie, accepted.cookie]);
        }
        Ok(cookies)
    }
}
