//! A server and a client in one of the settings in which every close is tried.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::{netns::Namespace, process::Actor, protocol::Socket, story::Story, tracer::Trace};

/// Addresses for documentation (RFC 5737, RFC 3849): they lead nowhere outside of the test's namespaces.
pub(crate) const SERVER_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    Ipv4,
    Ipv6,
    /// IPv6 sockets that speak IPv4.
    V4Mapped,
    /// IPv4 from one network namespace to another through a veth pair.
    Veth,
}

impl Setting {
    pub(crate) const ALL: [Self; 4] = [Self::Ipv4, Self::Ipv6, Self::V4Mapped, Self::Veth];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::V4Mapped => "v4_mapped",
            Self::Veth => "veth",
        }
    }

    pub(crate) fn pair(self) -> Result<Pair> {
        let loopback = |listen_at: SocketAddr, reached_at: SocketAddr| {
            Pair::new(Actor::start("ts-server")?, Actor::start("ts-client")?, listen_at, reached_at)
        };
        match self {
            Self::Ipv4 => loopback((Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into()),
            Self::Ipv6 => loopback((Ipv6Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()),
            Self::V4Mapped => {
                let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
                loopback((Ipv6Addr::UNSPECIFIED, 0).into(), (mapped, 0).into())
            }
            Self::Veth => {
                let (there, here) = (Namespace::new()?, Namespace::new()?);
                there.join(&here)?;
                there.address("eth0", SERVER_V4.into(), 24)?;
                here.address("eth0", CLIENT_V4.into(), 24)?;
                let (server, client) = (there.actor("ts-server")?, here.actor("ts-client")?);
                let pair = Pair::new(server, client, (SERVER_V4, 0).into(), (SERVER_V4, 0).into())?;
                Ok(Pair { namespaces: vec![there, here], ..pair })
            }
        }
    }
}

/// Two processes that can reach each other.
pub(crate) struct Pair {
    pub(crate) server: Actor,
    pub(crate) client: Actor,
    listen_at: SocketAddr,
    reached_at: SocketAddr,
    namespaces: Vec<Namespace>,
}

/// A connection of a [`Pair`], accepted.
pub(crate) struct Connection {
    pub(crate) listener: Socket,
    pub(crate) client: Socket,
    pub(crate) server: Socket,
}

impl Pair {
    pub(crate) fn new(server: Actor, client: Actor, listen_at: SocketAddr, reached_at: SocketAddr) -> Result<Self> {
        Ok(Self { server, client, listen_at, reached_at, namespaces: Vec::new() })
    }

    pub(crate) fn listen(&self) -> Result<Socket> {
        self.server.listen(self.listen_at)
    }

    /// Where the client finds a listener of the server.
    pub(crate) fn reach(&self, listener: &Socket) -> SocketAddr {
        SocketAddr::new(self.reached_at.ip(), listener.local.port())
    }

    /// An address of the client's own, port to be chosen by the kernel.
    pub(crate) fn client_address(&self) -> SocketAddr {
        let ip = if self.namespaces.is_empty() { self.reached_at.ip() } else { CLIENT_V4.into() };
        SocketAddr::new(ip, 0)
    }

    pub(crate) fn open(&self) -> Result<Connection> {
        let listener = self.listen()?;
        let client = self.client.connect(self.reach(&listener))?;
        let server = self.server.accept(&listener)?;
        Ok(Connection { listener, client, server })
    }

    /// The listener, from its beginning to its end.
    pub(crate) fn check_listener(&self, listener: &Socket, trace: &Trace) -> Result<()> {
        let owner = self.server.owner(listener, "listen");
        Story::of(&self.server, listener)?.owned(owner, "CLOSE LISTEN CLOSE").check(trace)
    }
}

impl Connection {
    /// The client's end, opened as always and then going through `states` from ESTABLISHED on.
    pub(crate) fn check_client(&self, pair: &Pair, trace: &Trace, states: &str) -> Result<()> {
        let states = format!("CLOSE SYN_SENT {states}");
        Story::of(&pair.client, &self.client)?.owned(pair.client.owner(&self.client, "connect"), &states).check(trace)
    }

    /// The server's end: the listener's until it was accepted, then going through `states` from ESTABLISHED on.
    pub(crate) fn check_server(&self, pair: &Pair, trace: &Trace, states: &str) -> Result<()> {
        Story::of(&pair.server, &self.server)?
            .owned(pair.server.owner(&self.listener, "listen"), "LISTEN SYN_RECV ESTABLISHED")
            .owned(pair.server.owner(&self.server, "accept"), states)
            .check(trace)
    }
}
