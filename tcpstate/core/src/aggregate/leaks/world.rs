//! The aggregator against a plain model of a kernel: sockets at a few addresses, events that are delivered late or lost,
//! snapshots that are taken while all this goes on.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    time::Duration,
};

use proptest::prelude::*;
use tcpstate_common::{COMM_LEN, state::TcpState};

use super::{LeakOptions, Leaks, entry_time::EntryTime, socket::Phase};
use crate::model::{
    Comm, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State,
    leak::{Actor, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts, SocketLoad},
};

/// Few addresses, so that they are reused all the time.
const ADDRESSES: usize = 4;
const MS: u64 = 1_000_000;

/// What may happen. The number is the place of the address.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A peer's FIN arrives: at a new socket, or again at one that was reset and connected anew.
    Fin(usize),
    /// A FIN at a new socket of which the tracer is not told.
    FinUnseen(usize),
    Read(usize),
    Close(usize),
    /// A close after which nothing more is told.
    CloseForGood(usize),
    /// A close with unread data, or of a descriptor that is a ghost.
    CloseAtOnce(usize),
    ShutDown(usize),
    Reset(usize),
    /// The last acknowledgement comes.
    Die(usize),
    Wait(u64),
    /// Begins a snapshot, or visits the next address, or hands the complete one over.
    Snapshot,
    /// The tracer takes so many events.
    Deliver(usize),
    /// So many of the next events find the buffer full.
    Fill(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let address = || 0..ADDRESSES;
    prop_oneof![
        8 => address().prop_map(Act::Fin),
        1 => address().prop_map(Act::FinUnseen),
        2 => address().prop_map(Act::Read),
        3 => address().prop_map(Act::Close),
        3 => address().prop_map(Act::CloseForGood),
        2 => address().prop_map(Act::CloseAtOnce),
        1 => address().prop_map(Act::ShutDown),
        2 => address().prop_map(Act::Reset),
        4 => address().prop_map(Act::Die),
        2 => (1_u64..500).prop_map(Act::Wait),
        10 => Just(Act::Snapshot),
        6 => (1_usize..5).prop_map(Act::Deliver),
        1 => (1_usize..5).prop_map(Act::Fill),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    CloseWait,
    /// In LAST_ACK without a descriptor.
    Closing,
    /// In LAST_ACK with one.
    ShutDown,
    /// In CLOSE with one.
    Reset,
}

#[derive(Clone, Debug)]
struct Alive {
    facts: SocketFacts,
    stands: Stands,
    entered: u64,
    /// When it took its present state.
    since: u64,
    seen: bool,
    eof_read: bool,
}

#[derive(Debug)]
struct World {
    now: u64,
    serial: u16,
    cookies: bool,
    alive: [Option<Alive>; ADDRESSES],
    queue: VecDeque<LeakEvent>,
    /// Events that will find no room.
    full: usize,
    snapshot: Option<(usize, Snapshot)>,
    leaks: Leaks,
    /// When the last event that was lost had happened, and the last snapshot that was handed over was begun.
    lost: Option<u64>,
    taken: Option<u64>,
    unseen: Option<u64>,
}

impl World {
    fn new(cookies: bool) -> Self {
        let options = LeakOptions {
            older_than: Duration::from_millis(100),
            accept_hook: true,
            receive_hook: true,
            descriptors: true,
        };
        Self {
            now: 1_000 * MS,
            serial: 1,
            cookies,
            alive: [const { None }; ADDRESSES],
            queue: VecDeque::new(),
            full: 0,
            snapshot: None,
            leaks: Leaks::new(options),
            lost: None,
            taken: None,
            unseen: None,
        }
    }

    fn act(&mut self, act: Act) {
        // No two things happen at the same moment.
        self.now += 1;
        let at = MonotonicNs(self.now);
        match act {
            Act::Fin(place) => self.fin(place, true),
            Act::FinUnseen(place) => self.fin(place, false),
            Act::Read(place) => {
                if let Some(alive) = self.standing(place, &[Stands::CloseWait]) {
                    alive.eof_read = true;
                    let socket = alive.facts.id;
                    self.send(LeakEvent::EofRead { at, socket, by: actor(), place: Some(PlaceId(7)) });
                }
            }
            Act::Close(place) => self.leave(place, TcpState::LastAck, Stands::Closing),
            Act::CloseForGood(place) => {
                if let Some(alive) = self.standing(place, &[Stands::CloseWait]) {
                    let socket = alive.facts.id;
                    self.alive[place] = None;
                    self.send(LeakEvent::Closed { at, socket, by: Some((actor(), Some(PlaceId(3)))) });
                }
            }
            Act::ShutDown(place) => self.leave(place, TcpState::LastAck, Stands::ShutDown),
            Act::Reset(place) => self.leave(place, TcpState::Close, Stands::Reset),
            Act::CloseAtOnce(place) => {
                self.leave(place, TcpState::Close, Stands::Reset);
                self.now += 1;
                self.destroy(place, &[Stands::Reset]);
            }
            Act::Die(place) => self.destroy(place, &[Stands::Closing, Stands::ShutDown]),
            Act::Wait(ms) => self.now += ms * MS,
            Act::Snapshot => self.snapshot(),
            Act::Deliver(n) => self.deliver(n),
            Act::Fill(n) => self.full = n,
        }
    }

    fn standing(&mut self, place: usize, stands: &[Stands]) -> Option<&mut Alive> {
        self.alive[place].as_mut().filter(|alive| stands.contains(&alive.stands))
    }

    fn send(&mut self, event: LeakEvent) {
        if self.full > 0 {
            self.full -= 1;
            self.lost = Some(self.now);
        } else {
            self.queue.push_back(event);
        }
    }

    fn fin(&mut self, place: usize, seen: bool) {
        let now = self.now;
        let known = match &self.alive[place] {
            None => None,
            Some(alive) if alive.stands == Stands::Reset && seen => Some(alive.facts),
            Some(_) => return,
        };
        let facts = known.unwrap_or_else(|| self.new_facts(place));
        self.alive[place] =
            Some(Alive { facts, stands: Stands::CloseWait, entered: now, since: now, seen, eof_read: false });
        if seen {
            let owner = Some(owner());
            self.send(LeakEvent::Entered { at: MonotonicNs(now), facts, owner, opened: Some(PlaceId(1)) });
        } else {
            self.unseen = Some(now);
        }
    }

    fn new_facts(&mut self, place: usize) -> SocketFacts {
        self.serial += 1;
        let end = |port| Endpoint { addr: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
        SocketFacts {
            id: SocketId {
                cookie: NonZeroU64::new(self.serial.into()).filter(|_| self.cookies),
                skaddr: 0xffff_8880_0000_0000 + place as u64 * 0x940,
            },
            family: Family::Inet,
            protocol: Protocol::Tcp,
            local: end(80),
            remote: end(self.serial),
            netns: 1,
            cgroup: None,
            uid: 0,
        }
    }

    fn leave(&mut self, place: usize, new: TcpState, stands: Stands) {
        let now = self.now;
        if let Some(alive) = self.standing(place, &[Stands::CloseWait]) {
            (alive.stands, alive.since) = (stands, now);
            let socket = alive.facts.id;
            let closed = (new == TcpState::LastAck).then(|| (actor(), Some(PlaceId(3))));
            self.send(LeakEvent::Left { at: MonotonicNs(now), socket, new: State::Known(new), closed });
        }
    }

    fn destroy(&mut self, place: usize, stands: &[Stands]) {
        let now = self.now;
        if let Some(alive) = self.standing(place, stands) {
            let socket = alive.facts.id;
            self.alive[place] = None;
            self.send(LeakEvent::Destroyed { at: MonotonicNs(now), socket });
        }
    }

    fn deliver(&mut self, n: usize) {
        for event in self.queue.drain(..n.min(self.queue.len())) {
            self.leaks.push(&event);
        }
    }

    fn snapshot(&mut self) {
        let now = MonotonicNs(self.now);
        let Some((next, snapshot)) = &mut self.snapshot else {
            let empty = Snapshot {
                taken: now,
                complete: now,
                sockets: Vec::new(),
                listeners: Vec::new(),
                processes: Vec::new(),
                starts: BTreeMap::new(),
            };
            self.snapshot = Some((0, empty));
            return;
        };
        if *next == ADDRESSES {
            snapshot.complete = snapshot.complete.max(snapshot.taken);
            self.leaks.reconcile(snapshot);
            self.taken = Some(snapshot.taken.0);
            self.snapshot = None;
            return;
        }
        if let Some(alive) = &self.alive[*next] {
            snapshot.sockets.extend(alive.found(now.0));
        }
        *next += 1;
        snapshot.complete = now;
    }

    /// Whether everything that was lost or never seen is older than the last snapshot, and the rest has been delivered.
    fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.lost.max(self.unseen) <= self.taken
    }

    fn check(&self) -> Result<(), TestCaseError> {
        if !self.is_settled() {
            return Ok(());
        }
        let open: BTreeMap<_, _> = self
            .leaks
            .sockets
            .iter()
            .filter(|socket| socket.phase == Phase::Open && !socket.missing)
            .map(|socket| ((socket.id.skaddr, socket.remote.port), socket.entered))
            .collect();
        let truth = |stands: &'static [Stands]| {
            self.alive
                .iter()
                .flatten()
                .filter(move |alive| stands.contains(&alive.stands))
                .map(|alive| (alive.key(), alive))
        };
        let expected: BTreeMap<_, _> = truth(&[Stands::CloseWait]).collect();
        prop_assert!(open.keys().eq(expected.keys()), "open {open:?}, but in CLOSE_WAIT {expected:?}");
        for (entered, alive) in open.values().zip(expected.values()) {
            let EntryTime { earliest, latest } = *entered;
            prop_assert!(earliest <= alive.entered && alive.entered <= latest, "{entered:?} of {alive:?}");
            prop_assert!(entered.is_exact() == alive.seen, "{entered:?} of {alive:?}");
        }

        let ghosts: Vec<_> = self
            .leaks
            .sockets
            .iter()
            .filter(|socket| matches!(socket.phase, Phase::Ghost(_)) && !socket.missing)
            .map(|socket| (socket.id.skaddr, socket.remote.port))
            .collect();
        let with_descriptor: BTreeMap<_, _> = truth(&[Stands::Reset, Stands::ShutDown]).collect();
        prop_assert!(ghosts.iter().all(|key| with_descriptor.contains_key(key)), "{ghosts:?} of {with_descriptor:?}");
        let mut reset = truth(&[Stands::Reset]);
        prop_assert!(reset.all(|(key, _)| ghosts.contains(&key)), "{ghosts:?} of {with_descriptor:?}");
        Ok(())
    }
}

impl Alive {
    fn key(&self) -> (u64, u16) {
        (self.facts.id.skaddr, self.facts.remote.port)
    }

    /// What a visit finds.
    fn found(&self, now: u64) -> Option<FoundSocket> {
        let (state, fd) = match self.stands {
            Stands::CloseWait => (TcpState::CloseWait, true),
            Stands::Closing => return None,
            Stands::ShutDown => (TcpState::LastAck, true),
            Stands::Reset => (TcpState::Close, true),
        };
        let age_ms = u32::try_from((now - self.entered) / MS).expect("short runs");
        let holder = Holder { pid: 4, fd: u32::from(self.facts.remote.port) };
        Some(FoundSocket {
            facts: self.facts,
            state: State::Known(state),
            owner: self.seen.then(owner),
            opened: self.seen.then_some(PlaceId(1)),
            since: self.seen.then_some(MonotonicNs(self.since)),
            eof_read: self.eof_read,
            unaccepted: false,
            load: Some(SocketLoad {
                recv_q: u32::from(!self.eof_read),
                send_q: 0,
                last_data_recv_ms: age_ms + u32::from(self.facts.remote.port % 100),
                last_ack_recv_ms: age_ms.saturating_sub(u32::from(self.facts.remote.port % 30)),
                last_data_sent_ms: age_ms + 50,
                traffic: None,
            }),
            holders: fd.then_some(holder).into_iter().collect(),
            awaited_by: None,
        })
    }
}

fn comm() -> Comm {
    Comm([b'a'; COMM_LEN])
}

fn owner() -> Owner {
    Owner { pid: 4, tid: 4, comm: comm(), source: OwnerSource::Accept, start: None }
}

fn actor() -> Actor {
    Actor { pid: 4, tid: 5, comm: comm(), start: None }
}

proptest! {
    /// After a snapshot the open sockets and their ages are the model's, whatever was lost before it and however events
    /// and snapshot overtook each other.
    #[test]
    fn equals_the_model_after_a_snapshot(cookies: bool, acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World::new(cookies);
        for act in acts {
            world.act(act);
            world.check()?;
        }
        // The snapshot under way, and one more.
        for _ in 0..2 * (ADDRESSES + 2) {
            world.act(Act::Snapshot);
        }
        world.deliver(usize::MAX);
        prop_assert!(world.is_settled());
        world.check()?;
    }
}
