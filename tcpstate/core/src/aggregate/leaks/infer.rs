//! Sockets that were opened before the trace: what a later leak of the same listener, or of the same process and peer, says of them.

use hashbrown::{HashMap, HashSet};

use super::{
    Leaks,
    origin::{Opening, Side},
    socket::Socket,
};
use crate::model::{Endpoint, OwnerSource, leak::PlaceId};

/// What two sockets have in common that were most likely opened by the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kinship {
    /// The same listening port of the same network namespace.
    Listener { netns: u32, port: u16 },
    /// The same process, connected to the same peer.
    Peer { pid: u32, netns: u32, remote: (std::net::IpAddr, u16) },
}

impl Kinship {
    /// That of a socket whose opening was seen.
    fn of_seen(socket: &Socket) -> Option<Self> {
        let owner = socket.owner?;
        match owner.source {
            OwnerSource::Accept | OwnerSource::Listen => Some(Self::listener(socket)),
            OwnerSource::Connect => Some(Self::peer(socket, owner.pid)),
            OwnerSource::Snapshot => None,
        }
    }

    fn listener(socket: &Socket) -> Self {
        Self::Listener { netns: socket.netns, port: socket.local.port }
    }

    fn peer(socket: &Socket, pid: u32) -> Self {
        let Endpoint { addr, port } = socket.remote;
        Self::Peer { pid, netns: socket.netns, remote: (addr, port) }
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

    fn get(&self, kinship: Kinship) -> Option<(Side, PlaceId)> {
        let place = self.places.get(&kinship).copied().flatten()?;
        Some((kinship.side(), place))
    }
}

/// How many sockets of unknown side have the same local port, or the same peer.
#[derive(Debug, Default)]
pub(super) struct Company {
    by_local: HashMap<(Option<u32>, u32, u16), u32>,
    by_remote: HashMap<(Option<u32>, u32, Endpoint), u32>,
}

impl Company {
    fn add(&mut self, socket: &Socket, pid: Option<u32>) {
        *self.by_local.entry((pid, socket.netns, socket.local.port)).or_default() += 1;
        *self.by_remote.entry((pid, socket.netns, socket.remote)).or_default() += 1;
    }

    /// The port that a socket shares with more others; the lower one when that does not tell.
    fn port(&self, socket: &Socket, pid: Option<u32>) -> Side {
        let local = self.by_local.get(&(pid, socket.netns, socket.local.port));
        let remote = self.by_remote.get(&(pid, socket.netns, socket.remote));
        let by_number = socket.remote.port.cmp(&socket.local.port);
        match local.cmp(&remote).then(by_number) {
            std::cmp::Ordering::Less => Side::RemotePort(socket.remote.port),
            _ => Side::LocalPort(socket.local.port),
        }
    }
}

impl Leaks {
    /// Looks at the sockets of which the opening was not seen: their company, and, where there is anything that `teaches`, the kinships
    /// that they could learn of.
    pub(super) fn company<'a>(
        &self,
        sockets: impl Iterator<Item = (&'a Socket, Option<u32>)>,
        teaches: bool,
    ) -> (Company, HashSet<Kinship>) {
        let mut company = Company::default();
        let mut wanted = HashSet::new();
        for (socket, pid) in sockets {
            let side = self.known_side(socket);
            if side.is_none() {
                company.add(socket, pid);
            }
            if teaches && self.opening(socket) == Opening::BeforeTrace {
                if !matches!(side, Some(Side::Connected(_))) {
                    wanted.insert(Kinship::listener(socket));
                }
                if !matches!(side, Some(Side::Accepted(_))) {
                    wanted.extend(pid.map(|pid| Kinship::peer(socket, pid)));
                }
            }
        }
        (company, wanted)
    }

    /// Side and opening of a socket in the company of others.
    pub(super) fn side_and_opening(&self, socket: &Socket, pid: Option<u32>, company: &Company) -> (Side, Opening) {
        let side = self.known_side(socket);
        let opening = self.opening(socket);
        if opening == Opening::BeforeTrace {
            let listener = self.openers.get(Kinship::listener(socket));
            let peer = || self.openers.get(Kinship::peer(socket, pid?));
            let inferred = match side {
                Some(Side::Accepted(_)) => listener,
                Some(Side::Connected(_)) => peer(),
                _ => listener.or_else(peer),
            };
            if let Some((side, place)) = inferred {
                return (side, Opening::Inferred(place));
            }
        }
        (side.unwrap_or_else(|| company.port(socket, pid)), opening)
    }

    /// What is known of the opening of a socket by itself.
    pub(super) fn opening(&self, socket: &Socket) -> Opening {
        match (socket.opened.get(), socket.owner.map(|owner| owner.source)) {
            (Some(place), _) => Opening::Seen(place),
            _ if self.is_unaccepted(socket) => Opening::NotAccepted,
            (None, Some(OwnerSource::Connect | OwnerSource::Accept)) => Opening::NotTaken,
            // Of those that were accepted before the trace only the holder is known.
            (None, Some(OwnerSource::Listen)) => Opening::NotSeen,
            (None, Some(OwnerSource::Snapshot) | None) => Opening::BeforeTrace,
        }
    }

    fn known_side(&self, socket: &Socket) -> Option<Side> {
        match socket.owner.map(|owner| owner.source) {
            Some(OwnerSource::Connect) => Some(Side::Connected(socket.remote.port)),
            Some(OwnerSource::Accept | OwnerSource::Listen) => Some(Side::Accepted(socket.local.port)),
            Some(OwnerSource::Snapshot) | None => {
                let listening = self.listening.contains(&(socket.netns, socket.local.port));
                listening.then_some(Side::Accepted(socket.local.port))
            }
        }
    }
}
