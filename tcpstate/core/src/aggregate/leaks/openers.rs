//! Who opened sockets of a kind: what sockets whose opening was seen teach of those that were there before the trace.

use hashbrown::{HashMap, HashSet};

use super::{origin::Side, socket::Socket};
use crate::model::{Endpoint, OwnerSource, ProcessId, leak::PlaceId};

/// What two sockets have in common that were most likely opened by the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kinship {
    /// The same listening port of the same network namespace.
    Listener { netns: u32, port: u16 },
    /// The same process, connected to the same peer.
    Peer { process: ProcessId, netns: u32, remote: (std::net::IpAddr, u16) },
}

impl Kinship {
    /// That of a socket whose opening was seen.
    fn of_seen(socket: &Socket) -> Option<Self> {
        let owner = socket.owner?;
        match owner.source {
            OwnerSource::Accept | OwnerSource::Listen => Some(Self::listener(socket)),
            OwnerSource::Connect => Some(Self::peer(socket, owner.process())),
            OwnerSource::Snapshot => None,
        }
    }

    pub(super) fn listener(socket: &Socket) -> Self {
        Self::Listener { netns: socket.netns, port: socket.local.port }
    }

    pub(super) fn peer(socket: &Socket, process: ProcessId) -> Self {
        let Endpoint { addr, port } = socket.remote;
        Self::Peer { process, netns: socket.netns, remote: (addr, port) }
    }

    /// What its relatives' side is.
    fn side(self) -> Side {
        match self {
            Self::Listener { port, .. } => Side::Accepted(port),
            Self::Peer { remote: (_, port), .. } => Side::Connected(port),
        }
    }
}

/// The only place where relatives were opened; `None` when there were several.
#[derive(Debug, Default)]
pub(super) struct Openers {
    places: HashMap<Kinship, Option<PlaceId>>,
}

impl Openers {
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.places.values().copied().flatten()
    }

    /// Whether nothing has been learnt.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Learns from leaks whose opening was seen, for the sake of those whose opening was not.
    pub(super) fn learn<'a>(
        &mut self,
        wanted: &HashSet<Kinship>,
        leaks: impl Iterator<Item = &'a Socket>,
        fold: impl Fn(PlaceId) -> PlaceId,
    ) {
        self.places.retain(|kinship, _| wanted.contains(kinship));
        if wanted.is_empty() {
            return;
        }
        for socket in leaks {
            let Some((kinship, place)) = Kinship::of_seen(socket).zip(socket.opened.get()) else { continue };
            if wanted.contains(&kinship) {
                let known = self.places.entry(kinship).or_insert(Some(place));
                *known = known.filter(|&known| fold(known) == fold(place));
            }
        }
    }

    pub(super) fn get(&self, kinship: Kinship) -> Option<(Side, PlaceId)> {
        let place = self.places.get(&kinship).copied().flatten()?;
        Some((kinship.side(), place))
    }
}

/// How many sockets of unknown side have the same local port, or the same peer.
#[derive(Debug, Default)]
pub(super) struct Company {
    by_local: HashMap<(Option<ProcessId>, u32, u16), u32>,
    by_remote: HashMap<(Option<ProcessId>, u32, Endpoint), u32>,
}

impl Company {
    pub(super) fn add(&mut self, socket: &Socket, pid: Option<ProcessId>) {
        *self.by_local.entry((pid, socket.netns, socket.local.port)).or_default() += 1;
        *self.by_remote.entry((pid, socket.netns, socket.remote)).or_default() += 1;
    }

    /// The port that a socket shares with more others; the lower one when that does not tell.
    pub(super) fn port(&self, socket: &Socket, pid: Option<ProcessId>) -> Side {
        let local = self.by_local.get(&(pid, socket.netns, socket.local.port));
        let remote = self.by_remote.get(&(pid, socket.netns, socket.remote));
        let by_number = socket.remote.port.cmp(&socket.local.port);
        match local.cmp(&remote).then(by_number) {
            std::cmp::Ordering::Less => Side::RemotePort(socket.remote.port),
            _ => Side::LocalPort(socket.local.port),
        }
    }
}
