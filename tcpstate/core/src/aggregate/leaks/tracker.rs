//! The sockets as events tell of them: what enters CLOSE_WAIT, what leaves it, and what is closed late.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
};

use hashbrown::{HashMap, HashSet};
use tcpstate_common::state::TcpState;

use super::{
    bounds::MOST_PLACES,
    closed::{ClosedTable, LateClose},
    entry_time::EntryTime,
    kept::Kept,
    openers::Openers,
    options::LeakOptions,
    places::Places,
    process::Process,
    socket::{Left, LeftBy, Phase, Socket, Told},
    table::{Gone, SocketTable, Went},
    trend::Series,
    trends::Trends,
};
use crate::model::{
    MonotonicNs, Owner, OwnerSource, ProcessId, ProcessStart, SocketId, State,
    leak::{Actor, FoundHolder, FoundListener, Holder, LeakEvent, PlaceId, SocketFacts},
};

/// A socket out of CLOSE_WAIT for less than this may just be on its way through `close()`, nanoseconds.
pub(super) const CLOSE_TAKES_NS: u64 = 100_000_000;
/// Sockets that are not known yet and of which it is remembered who was told of the end, at most.
const TOLD_EARLY: usize = 1 << 14;

/// Every socket in CLOSE_WAIT, and every one that has left it without being closed.
#[derive(Debug)]
pub struct Leaks {
    pub(super) options: LeakOptions,
    /// Processes are filtered: what opens a socket may be left out.
    pub(super) by_process: bool,
    pub(super) sockets: SocketTable,
    /// Descriptors of all sockets, as of the last snapshot.
    pub(super) holders: Vec<Holder>,
    pub(super) gone: Gone,
    pub(super) closed: ClosedTable,
    /// Sockets kept beyond their end, where that is wanted.
    pub(super) kept: Option<Kept>,
    /// Ports on which somebody listens or has accepted, with their network namespaces.
    pub(super) listening: BTreeSet<(u32, u16)>,
    pub(super) listeners: Vec<FoundListener>,
    /// Who listens at a port of a network namespace; `None` where several do.
    pub(super) listen_at: BTreeMap<(u32, u16), Option<Process>>,
    /// What was told of sockets that only the next snapshot will know, by their address.
    pub(super) told_early: HashMap<u64, (SocketId, Told)>,
    pub(super) processes: BTreeMap<u32, WatchedProcess>,
    /// When the holders of the last snapshot began.
    pub(super) starts: BTreeMap<u32, ProcessStart>,
    pub(super) openers: Openers,
    pub(super) trends: Trends,
    /// Processes that were not followed over time for want of room when the last snapshot came.
    pub(super) unfollowed: u64,
    /// Ports that found no room among those that are listened on.
    pub(super) ports_not_kept: u64,
    /// When the last snapshot was begun and complete.
    pub(super) snapshot: Option<(MonotonicNs, MonotonicNs)>,
    /// Number of the last snapshot.
    pub(super) generation: u32,
}

/// A process over time.
#[derive(Debug)]
pub(super) struct WatchedProcess {
    pub(super) process: ProcessId,
    pub(super) found: FoundHolder,
    /// `None` where there are too many processes to follow all.
    pub(super) past: Option<Past>,
}

/// What a process had over time.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) descriptors: Series,
    /// Those of them that are of leaked sockets.
    pub(super) leaked: Series,
}

impl Leaks {
    /// An empty one.
    #[must_use]
    pub fn new(options: LeakOptions) -> Self {
        Self {
            options,
            by_process: false,
            sockets: SocketTable::default(),
            holders: Vec::new(),
            gone: Gone::default(),
            closed: ClosedTable::default(),
            kept: None,
            listening: BTreeSet::new(),
            listeners: Vec::new(),
            listen_at: BTreeMap::new(),
            told_early: HashMap::new(),
            processes: BTreeMap::new(),
            starts: BTreeMap::new(),
            openers: Openers::default(),
            trends: Trends::default(),
            unfollowed: 0,
            ports_not_kept: 0,
            snapshot: None,
            generation: 0,
        }
    }

    /// Filters by process are in use, or not: then it was perhaps a process that they leave out who opened what nobody was seen to
    /// open.
    #[must_use]
    pub fn filtered_by_process(mut self, by_process: bool) -> Self {
        self.by_process = by_process;
        self
    }

    /// Takes an event, in the order in which the kernel sent them.
    pub fn push(&mut self, event: &LeakEvent) {
        match *event {
            LeakEvent::Entered { at, ref facts, owner, opened } => self.entered(at, facts, owner, opened),
            LeakEvent::Accepted { at, socket, owner, opened } => {
                let listening = self.find(socket, at).map(|socket| {
                    socket.learn_owner(Some(owner));
                    socket.learn_opened(opened);
                    (socket.netns, socket.local.port)
                });
                if let Some(at) = listening {
                    self.learn_port(at);
                }
            }
            LeakEvent::EofRead { at, socket, by, place } => {
                let told = Told { at, by, place: place.into() };
                if let Some(socket) = self.find(socket, at) {
                    socket.learn_told(told);
                } else if self.told_early.len() < TOLD_EARLY {
                    self.told_early.insert(socket.skaddr, (socket, told));
                }
            }
            LeakEvent::Closing(ref closing) => self.closing(closing),
            LeakEvent::Left { at, socket, new, closed } => self.left(at, socket, new, closed),
            LeakEvent::Closed { at, socket, by } => {
                self.left(at, socket, State::Known(TcpState::LastAck), by);
                self.destroyed(at, socket);
            }
            LeakEvent::Destroyed { at, socket } => self.destroyed(at, socket),
        }
    }

    /// The places of which stacks are needed: those of all sockets, and of late closes, as many as get names. In ascending order.
    #[must_use]
    pub fn places(&self) -> BTreeSet<PlaceId> {
        let mut places = Places::default();
        for socket in self.sockets.iter() {
            places.add(socket.process(), socket.places(), socket.entered.latest);
        }
        for ended in self.kept.iter().flat_map(|kept| &kept.sockets) {
            places.add(ended.socket.process(), ended.socket.places(), ended.socket.entered.latest);
        }
        places.add(None, self.openers.places(), 0);
        places.rank();
        places.add_last(self.told_early.values().filter_map(|(_, told)| told.place.get()));
        for (origin, closed) in self.closed.by_size() {
            places
                .add_last(origin.opening.place().into_iter().chain(closed.told.things()).chain(closed.closed.things()));
        }
        places.finish()
    }

    /// How many there are beyond them.
    pub(super) fn places_beyond(&self) -> u64 {
        let mut places = HashSet::new();
        let mut add = |place| {
            places.insert(place);
        };
        self.sockets.iter().flat_map(Socket::places).for_each(&mut add);
        self.kept.iter().flat_map(|kept| &kept.sockets).flat_map(|ended| ended.socket.places()).for_each(&mut add);
        self.openers.places().for_each(&mut add);
        self.told_early.values().filter_map(|(_, told)| told.place.get()).for_each(&mut add);
        for (origin, closed) in self.closed.iter() {
            origin
                .opening
                .place()
                .into_iter()
                .chain(closed.told.things())
                .chain(closed.closed.things())
                .for_each(&mut add);
        }
        places.len().saturating_sub(MOST_PLACES) as u64
    }

    /// The processes that a survey may be about: those that opened sockets, hold them, were told of an end, or listen.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<u32> {
        let of_socket = |socket: &Socket| [socket.owner.map(|owner| owner.pid), socket.told.map(|told| told.by.pid)];
        let owners = self.listeners.iter().filter_map(|listener| listener.owner).map(|owner| owner.pid);
        let listening = self.listeners.iter().flat_map(|listener| &listener.holders).copied().chain(owners);
        let of_sockets = self.sockets.iter().flat_map(of_socket).flatten();
        distinct(of_sockets.chain(self.holders.iter().map(|holder| holder.pid)).chain(listening))
    }

    fn entered(&mut self, at: MonotonicNs, facts: &SocketFacts, owner: Option<Owner>, opened: Option<PlaceId>) {
        if owner.is_some_and(|owner| matches!(owner.source, OwnerSource::Accept | OwnerSource::Listen)) {
            self.learn_port((facts.netns, facts.local.port));
        }
        let snapshot = self.snapshot;
        let generation = self.generation;
        if let Some(known) = self.sockets.get_mut(facts.id.skaddr) {
            let same_socket = known.is(facts);
            let same_stay = match known.phase {
                _ if !same_socket => false,
                // The snapshot saw what this event tells.
                Phase::Open if known.listed == generation => snapshot.is_some_and(|(_, complete)| at <= complete),
                Phase::Open => at.0 <= known.entered.latest,
                Phase::Closing(left) | Phase::Ghost(left) => at <= left.at,
            };
            if same_stay {
                known.id.cookie = known.id.cookie.or(facts.id.cookie);
                if !known.entered.is_exact() {
                    known.entered = EntryTime::at(at);
                }
                known.learn_owner(owner);
                known.learn_opened(opened);
                return;
            }
            let found_later = known.listed == generation && snapshot.is_some_and(|(taken, _)| at <= taken);
            if at.0 < known.entered.earliest || found_later {
                return;
            }
            // It has left, and the events of that are lost.
            if let Some(before) = self.sockets.remove(facts.id.skaddr) {
                self.vanished(&before);
            }
        }
        let mut socket = Socket::new(facts, EntryTime::at(at));
        socket.owner = owner;
        socket.opened = opened.into();
        // A snapshot that was begun later has not found it, so it has left again.
        socket.missing = snapshot.is_some_and(|(taken, _)| at <= taken);
        self.sockets.insert(socket);
    }

    fn left(&mut self, at: MonotonicNs, id: SocketId, new: State, closed: Option<(Actor, Option<PlaceId>)>) {
        let place = closed.and_then(|(_, place)| place);
        let left = |by| Left { at, place: place.into(), by };
        let phase = match new {
            State::Known(TcpState::LastAck) => Phase::Closing(left(LeftBy::Program)),
            _ => Phase::Ghost(left(LeftBy::Abort)),
        };
        let older = self.is_older_than_found(id, at);
        let Some(socket) = self.find(id, at) else {
            self.gone.remember(id, at, Went::Out(phase));
            return;
        };
        match socket.phase {
            Phase::Open if older => {}
            Phase::Open => socket.phase = phase,
            // It came back in between, or is another one, and the events of that are lost: a snapshot has to tell.
            Phase::Closing(known) | Phase::Ghost(known) if at > known.at => {
                self.gone.remember(id, at, Went::Out(phase));
            }
            // A snapshot has found it out of CLOSE_WAIT already; but it does not know how it left, and where it was shut down.
            Phase::Closing(_) => socket.phase = Phase::Closing(phase.left().unwrap_or_else(|| left(LeftBy::Unseen))),
            Phase::Ghost(_) => socket.phase = Phase::Ghost(phase.left().unwrap_or_else(|| left(LeftBy::Unseen))),
        }
    }

    fn destroyed(&mut self, at: MonotonicNs, id: SocketId) {
        if self.is_older_than_found(id, at) {
            return;
        }
        self.gone.remember(id, at, Went::Away);
        self.told_early.remove(&id.skaddr);
        if self.find(id, at).is_some()
            && let Some(socket) = self.sockets.remove(id.skaddr)
        {
            self.ended(&socket, at);
        }
    }

    /// The socket that an event is about.
    pub(super) fn find(&mut self, id: SocketId, at: MonotonicNs) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.skaddr).filter(|socket| socket.may_be(id, at))?;
        // Old kernels give cookies late.
        socket.id.cookie = socket.id.cookie.or(id.cookie);
        Some(socket)
    }

    /// Whether the last snapshot found a socket at this address after the event.
    fn is_older_than_found(&self, id: SocketId, at: MonotonicNs) -> bool {
        let Some((taken, _)) = self.snapshot else { return false };
        let found = || self.sockets.get(id.skaddr).is_some_and(|socket| socket.listed == self.generation);
        at <= taken && found()
    }

    /// Accounts for a socket whose end was seen.
    fn ended(&mut self, socket: &Socket, at: MonotonicNs) {
        let (at, place) = match socket.phase {
            Phase::Open => (at, None),
            Phase::Closing(left) => (left.at, left.place.get()),
            // Until then its descriptor was open, but for the short time that a close takes.
            Phase::Ghost(left) if at.0.saturating_sub(left.at.0) < CLOSE_TAKES_NS => (left.at, left.place.get()),
            Phase::Ghost(left) => (at, left.place.get()),
        };
        self.closed_at(socket, at, place, true);
    }

    /// Accounts for a socket that is gone without its end having been seen.
    pub(super) fn vanished(&mut self, socket: &Socket) {
        match socket.phase {
            Phase::Open => {
                if let Some(load) = socket.load {
                    self.closed_at(socket, load.at, None, false);
                }
            }
            Phase::Closing(left) | Phase::Ghost(left) => self.closed_at(socket, left.at, left.place.get(), true),
        }
    }

    fn closed_at(&mut self, socket: &Socket, at: MonotonicNs, place: Option<PlaceId>, seen: bool) {
        let age_ns = at.0.saturating_sub(socket.entered.latest);
        self.keep_closed(socket, at, age_ns);
        if !self.options.is_late(age_ns) {
            return;
        }
        if self.was_sending(socket) {
            return;
        }
        let close = LateClose {
            at,
            age_ns,
            exact: socket.entered.is_exact(),
            seen,
            told: socket.told.and_then(|told| told.place.get()),
            closed: place,
            owner: socket.owner,
        };
        self.closed.record(self.origin_alone(socket), &close);
    }
}

/// The few different ones among many, in ascending order.
fn distinct<T: Copy + Ord + Hash>(many: impl Iterator<Item = T>) -> BTreeSet<T> {
    // `extend()` would make room for as many as there may be.
    let mut few = HashSet::new();
    for one in many {
        few.insert(one);
    }
    few.into_iter().collect()
}
