//! Events → bytes.

use hashbrown::HashMap;
use tcpstate_core::model::{
    Comm, Dwell, MonotonicNs, Owner, OwnerSource, SocketId, Transition,
    event::Event,
    leak::{Actor, LeakEvent, PlaceId},
};

use super::block::{Block, Common, Rest, Sockets, Who, dwell, row};
use crate::v1::{
    bytes::{EncodeError, to_bytes},
    dictionary::Dictionary,
    socket::CommV1,
};

/// A socket as a dictionary has it.
type SocketKey = (SocketId, Option<Rest>);

struct Encoder {
    block: Block,
    skaddrs: Dictionary<u64>,
    addresses: Dictionary<std::net::IpAddr>,
    comms: Dictionary<CommV1>,
    commons: Dictionary<Common>,
    whos: Dictionary<Who>,
    places: Dictionary<u64>,
    sockets: Dictionary<SocketKey>,
    /// Time and new state of the last transition of a socket.
    last: HashMap<SocketId, (MonotonicNs, u8)>,
    /// Id of the last socket that has one.
    id: u64,
    time: u64,
}

/// Encodes a block of events; all of them in the order in which they came.
///
/// # Errors
///
/// When there is no memory.
pub(in crate::v1) fn encode(events: &[Event]) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder {
        block: Block::default(),
        skaddrs: Dictionary::new(),
        addresses: Dictionary::new(),
        comms: Dictionary::new(),
        commons: Dictionary::new(),
        whos: Dictionary::new(),
        places: Dictionary::new(),
        sockets: Dictionary::new(),
        last: HashMap::new(),
        id: 0,
        time: 0,
    };
    // Entering is a transition, never beside one. Who closes in the end only `tcpstate run` asks for, and where transitions are
    // recorded leaving and the end are events of their own.
    let kept = |event: &&Event| {
        !matches!(event, Event::Beside(LeakEvent::Entered { .. } | LeakEvent::Closing(_) | LeakEvent::Closed { .. }))
    };
    for event in events.iter().filter(kept) {
        encoder.push(event);
    }
    to_bytes(&encoder.finish())
}

impl Encoder {
    fn push(&mut self, event: &Event) {
        self.time(event.at());
        match *event {
            Event::Transition(ref transition) => self.transition(row::TRANSITION, transition),
            Event::Entered { ref transition, opened } => {
                self.transition(row::ENTERED, transition);
                self.place(opened);
            }
            Event::Beside(event) => self.beside(event),
        }
    }

    fn transition(&mut self, kind: u8, transition: &Transition) {
        let Transition { at, socket, id, old, new, in_old, owner, family, protocol, local, remote, netns, cgroup, uid } =
            *transition;
        let cgroup = cgroup.map_or(0, std::num::NonZeroU64::get);
        let common = Common { family: family.into(), protocol: protocol.into(), netns, cgroup, uid };
        self.block.kinds.push(kind);
        self.socket((socket, Some((id, common, local, remote))));
        let (old, new) = (u8::from(old), u8::from(new));
        self.block.olds.push(old);
        self.block.news.push(new);
        let last = self.last.insert(socket, (at, new));
        let since_last = last.filter(|&(_, state)| state == old).and_then(|(last, _)| at.0.checked_sub(last.0));
        let (kind, ns) = match in_old {
            Dwell::Exact(ns) if since_last == Some(ns) => (dwell::SINCE_LAST, None),
            Dwell::Exact(ns) => (dwell::EXACT, Some(ns)),
            Dwell::AtLeast(ns) => (dwell::AT_LEAST, Some(ns)),
            Dwell::Unknown => (dwell::UNKNOWN, None),
        };
        self.block.dwell_kinds.push(kind);
        self.block.dwells.extend(ns);
        self.owner(owner);
    }

    fn beside(&mut self, event: LeakEvent) {
        match event {
            // Left out in `encode`.
            LeakEvent::Entered { .. } | LeakEvent::Closing(_) | LeakEvent::Closed { .. } => {}
            LeakEvent::Accepted { socket, owner, opened, .. } => {
                self.of_socket(row::ACCEPTED, socket);
                self.owner(Some(owner));
                self.place(opened);
            }
            LeakEvent::EofRead { socket, by, place, .. } => {
                self.of_socket(row::EOF_READ, socket);
                self.actor(Some(by));
                self.place(place);
            }
            LeakEvent::Left { socket, new, closed, .. } => {
                self.of_socket(row::LEFT, socket);
                self.block.news.push(new.into());
                self.actor(closed.map(|(actor, _)| actor));
                self.place(closed.and_then(|(_, place)| place));
            }
            LeakEvent::Destroyed { socket, .. } => self.of_socket(row::DESTROYED, socket),
        }
    }

    fn of_socket(&mut self, kind: u8, socket: SocketId) {
        self.block.kinds.push(kind);
        self.socket((socket, None));
    }

    fn socket(&mut self, key: SocketKey) {
        let known = self.sockets.things.len();
        let index = self.sockets.index(key) as usize;
        self.block.row_sockets.push(u32::try_from(known - index.min(known)).unwrap_or(0));
        if index < known {
            return;
        }
        let (id, rest) = key;
        let before = known.checked_sub(1).map_or(0, |before| cookie(self.sockets.things[before].0));
        let Sockets { cookies, skaddrs, commons, ids, local_addrs, local_ports, remote_addrs, remote_ports } =
            &mut self.block.sockets;
        cookies.push(cookie(id).wrapping_sub(before).cast_signed());
        skaddrs.push(self.skaddrs.index(id.skaddr));
        commons.push(self.commons.optional(rest.map(|(_, common, ..)| common)));
        if let Some((id, _, local, remote)) = rest {
            let id = id.map_or(0, std::num::NonZeroU64::get);
            ids.push(id.wrapping_sub(self.id).cast_signed());
            self.id = id;
            local_addrs.push(self.addresses.index(local.addr));
            local_ports.push(local.port);
            remote_addrs.push(self.addresses.index(remote.addr));
            remote_ports.push(remote.port);
        }
    }

    fn owner(&mut self, owner: Option<Owner>) {
        let who = owner.map(|Owner { pid, tid, comm, source, start: _ }| self.who((pid, tid, comm), Some(source)));
        let index = self.whos.optional(who);
        self.block.row_whos.push(index);
    }

    fn actor(&mut self, actor: Option<Actor>) {
        let who = actor.map(|Actor { pid, tid, comm, start: _ }| self.who((pid, tid, comm), None));
        let index = self.whos.optional(who);
        self.block.row_whos.push(index);
    }

    fn who(&mut self, (pid, tid, comm): (u32, u32, Comm), source: Option<OwnerSource>) -> Who {
        Who { pid, tid, comm: self.comms.index(comm.0), source: source.map(Into::into) }
    }

    fn place(&mut self, place: Option<PlaceId>) {
        let index = self.places.optional(place.map(|place| place.0));
        self.block.row_places.push(index);
    }

    fn time(&mut self, at: MonotonicNs) {
        self.block.times.push(at.0.wrapping_sub(self.time).cast_signed());
        self.time = at.0;
    }

    fn finish(self) -> Block {
        let mut before = 0;
        let differences = self.skaddrs.things.iter().map(|&skaddr: &u64| {
            let difference = skaddr.wrapping_sub(before).cast_signed();
            before = skaddr;
            difference
        });
        Block {
            skaddrs: differences.collect(),
            addresses: self.addresses.things.into(),
            comms: self.comms.things.into(),
            commons: self.commons.things.into(),
            whos: self.whos.things.into(),
            places: self.places.things.into(),
            ..self.block
        }
    }
}

fn cookie(id: SocketId) -> u64 {
    id.cookie.map_or(0, std::num::NonZeroU64::get)
}
