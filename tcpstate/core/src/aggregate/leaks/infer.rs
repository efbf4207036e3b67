//! Sockets that were opened before the trace: what a later leak of the same listener, or of the same process and peer, says of them.

use hashbrown::HashSet;

use super::{
    openers::{Company, Kinship},
    origin::{Opening, Side},
    socket::Socket,
    tracker::Leaks,
};
use crate::model::{OwnerSource, ProcessId};

impl Leaks {
    /// Looks at the sockets of which the opening was not seen: their company, and, where there is anything that `teaches`, the kinships
    /// that they could learn of.
    pub(super) fn company<'a>(
        &self,
        sockets: impl Iterator<Item = (&'a Socket, Option<ProcessId>)>,
        teaches: bool,
    ) -> (Company, HashSet<Kinship>) {
        let mut company = Company::default();
        let mut wanted = HashSet::new();
        for (socket, pid) in sockets {
            let side = self.known_side(socket);
            if side.is_none() {
                company.add(socket, pid);
            }
            if teaches && self.opening(socket).is_unseen() {
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
    pub(super) fn side_and_opening(
        &self,
        socket: &Socket,
        pid: Option<ProcessId>,
        company: &Company,
    ) -> (Side, Opening) {
        let side = self.known_side(socket);
        let opening = self.opening(socket);
        if opening.is_unseen() {
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
            (None, Some(OwnerSource::Listen)) if socket.was_accepted() => Opening::NotSeen,
            (None, Some(OwnerSource::Listen)) => Opening::NotKnown,
            (None, Some(OwnerSource::Snapshot) | None) if self.by_process => Opening::LeftOut,
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
