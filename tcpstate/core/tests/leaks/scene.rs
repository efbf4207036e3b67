//! Sockets that do what sockets do, told to the aggregator as the kernel side would.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    time::Duration,
};

use tcpstate_common::{COMM_LEN, state::TcpState};
use tcpstate_core::{
    aggregate::{
        leaks::{LeakOptions, Leaks, Observed, Survey},
        stack_book::StackBook,
    },
    model::{
        Comm, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State,
        leak::{
            Actor, FoundHolder, FoundListener, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts,
            SocketLoad, Traffic,
        },
    },
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NETNS: u32 = 4_026_531_840;

/// A socket of a [`Scene`], by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket(usize);

/// What opens a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener {
    pub(crate) pid: u32,
    pub(crate) comm: &'static str,
    pub(crate) source: OwnerSource,
    /// The listener's port, or that of the peer.
    pub(crate) port: u16,
    pub(crate) place: Option<u64>,
}

pub(crate) fn accepts(pid: u32, comm: &'static str, port: u16, place: u64) -> Opener {
    Opener { pid, comm, source: OwnerSource::Accept, port, place: Some(place) }
}

pub(crate) fn connects(pid: u32, comm: &'static str, port: u16, place: u64) -> Opener {
    Opener { pid, comm, source: OwnerSource::Connect, port, place: Some(place) }
}

/// The sockets, and the aggregator that is told of them.
pub(crate) struct Scene {
    pub(crate) now: u64,
    pub(crate) leaks: Leaks,
    /// As the next snapshot finds them; `None` when they are gone.
    sockets: Vec<Option<FoundSocket>>,
    pub(crate) listeners: Vec<FoundListener>,
    pub(crate) processes: BTreeMap<u32, FoundHolder>,
    pub(crate) stacks: StackBook,
    pub(crate) asleep_in_send: Option<BTreeMap<u32, u32>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(LeakOptions {
            older_than: Duration::from_secs(1),
            accept_hook: true,
            receive_hook: true,
            descriptors: true,
        })
    }

    pub(crate) fn with(options: LeakOptions) -> Self {
        Self {
            now: 1_000 * SECOND,
            leaks: Leaks::new(options),
            sockets: Vec::new(),
            listeners: Vec::new(),
            processes: BTreeMap::new(),
            stacks: StackBook::default(),
            asleep_in_send: None,
        }
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now += ms * 1_000_000;
        for load in self.sockets.iter_mut().flatten().filter_map(|socket| socket.load.as_mut()) {
            let ms = u32::try_from(ms).expect("short waits");
            load.last_data_recv_ms += ms;
            load.last_data_sent_ms += ms;
            load.last_ack_recv_ms += ms;
        }
    }

    /// The peer closes: the FIN is not read.
    pub(crate) fn fin(&mut self, opener: Opener) -> Socket {
        let (socket, facts) = self.add(opener);
        let owner = self.sockets[socket.0].as_ref().and_then(|found| found.owner);
        self.leaks.push(&LeakEvent::Entered { at: self.at(), facts, owner, opened: opener.place.map(PlaceId) });
        socket
    }

    /// The same before the tracer came: only a holder is known.
    pub(crate) fn fin_before(&mut self, opener: Opener) -> Socket {
        let (socket, _) = self.add(opener);
        let found = self.found(socket);
        found.owner = found.owner.map(|owner| Owner { source: OwnerSource::Snapshot, ..owner });
        (found.opened, found.since) = (None, None);
        socket
    }

    fn add(&mut self, opener: Opener) -> (Socket, SocketFacts) {
        let Opener { pid, comm, source, port, place } = opener;
        let number = self.sockets.len();
        let near = |port| Endpoint { addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port };
        let far = |port| Endpoint { addr: IpAddr::V4(Ipv4Addr::new(10, 0, 7, (number % 3) as u8 + 1)), port };
        let ephemeral = 40_000_u16.wrapping_add(number as u16);
        let (local, remote) = match source {
            OwnerSource::Connect => (near(ephemeral), far(port)),
            _ => (near(port), far(ephemeral)),
        };
        let facts = SocketFacts {
            id: SocketId {
                cookie: NonZeroU64::new(number as u64 + 1),
                skaddr: 0xffff_8881_0000_0000 + number as u64 * 0x940,
            },
            family: Family::Inet,
            protocol: Protocol::Tcp,
            local,
            remote,
            netns: NETNS,
            cgroup: None,
            uid: 1000,
        };
        self.process(pid, comm).descriptors += 1;
        let unaccepted = source == OwnerSource::Listen;
        self.sockets.push(Some(FoundSocket {
            facts,
            state: State::Known(TcpState::CloseWait),
            owner: Some(Owner { pid, tid: pid, comm: name(comm), source, start: None }),
            opened: place.map(PlaceId),
            since: Some(self.at()),
            eof_read: false,
            unaccepted,
            load: Some(SocketLoad {
                recv_q: 1,
                send_q: 0,
                last_data_recv_ms: 0,
                last_ack_recv_ms: 0,
                last_data_sent_ms: 60_000,
                traffic: Some(Traffic { received: 501, sent: 200 }),
            }),
            holders: (!unaccepted).then_some(Holder { pid, fd: 10 + number as u32 }).into_iter().collect(),
            awaited_by: None,
        }));
        (Socket(number), facts)
    }

    /// What a snapshot will find of a socket that is there.
    pub(crate) fn found(&mut self, socket: Socket) -> &mut FoundSocket {
        self.sockets[socket.0].as_mut().expect("a socket that is still there")
    }

    pub(crate) fn load(&mut self, socket: Socket) -> &mut SocketLoad {
        self.found(socket).load.as_mut().expect("a socket with queues")
    }

    /// A receive returns 0.
    pub(crate) fn read_eof(&mut self, socket: Socket, pid: u32, tid: u32, comm: &'static str, place: u64) {
        let at = self.at();
        let found = self.found(socket);
        found.eof_read = true;
        found.load.as_mut().expect("a socket with queues").recv_q = 0;
        let socket = found.facts.id;
        let by = Actor { pid, tid, comm: name(comm), start: None };
        self.leaks.push(&LeakEvent::EofRead { at, socket, by, place: Some(PlaceId(place)) });
    }

    pub(crate) fn close(&mut self, socket: Socket, place: u64) {
        let at = self.at();
        let id = self.found(socket).facts.id;
        let by = Actor { pid: 1, tid: 1, comm: name("closer"), start: None };
        let new = State::Known(TcpState::LastAck);
        self.leaks.push(&LeakEvent::Left { at, socket: id, new, closed: Some((by, Some(PlaceId(place)))) });
        self.leaks.push(&LeakEvent::Destroyed { at: MonotonicNs(at.0 + 50_000), socket: id });
        self.sockets[socket.0] = None;
    }

    /// The exit of the last process that held it closed it, as the aggregator was told.
    pub(crate) fn gone(&mut self, socket: Socket) {
        self.sockets[socket.0] = None;
    }

    /// The peer resets the connection.
    pub(crate) fn reset(&mut self, socket: Socket) {
        // After the snapshot of this moment.
        let at = MonotonicNs(self.now + 1);
        let found = self.found(socket);
        found.state = State::Known(TcpState::Close);
        found.since = Some(at);
        let socket = found.facts.id;
        self.leaks.push(&LeakEvent::Left { at, socket, new: State::Known(TcpState::Close), closed: None });
    }

    /// The program shuts its side down, and keeps the descriptor.
    pub(crate) fn shut_down(&mut self, socket: Socket, place: u64) {
        let at = self.at();
        let found = self.found(socket);
        found.state = State::Known(TcpState::LastAck);
        found.since = Some(at);
        let socket = found.facts.id;
        let by = Actor { pid: 1, tid: 1, comm: name("closer"), start: None };
        let new = State::Known(TcpState::LastAck);
        self.leaks.push(&LeakEvent::Left { at, socket, new, closed: Some((by, Some(PlaceId(place)))) });
    }

    pub(crate) fn process(&mut self, pid: u32, comm: &str) -> &mut FoundHolder {
        self.processes.entry(pid).or_insert_with(|| FoundHolder {
            pid,
            comm: name(comm),
            descriptors: 5,
            descriptor_limit: Some(1024),
        })
    }

    pub(crate) fn snapshot(&mut self) {
        let at = self.at();
        let snapshot = Snapshot {
            taken: at,
            complete: MonotonicNs(at.0 + 2_000_000),
            sockets: self.sockets.iter().flatten().cloned().collect(),
            listeners: self.listeners.clone(),
            processes: self.processes.values().cloned().collect(),
            starts: BTreeMap::new(),
        };
        self.leaks.reconcile(&snapshot);
    }

    pub(crate) fn survey(&mut self) -> Survey {
        self.leaks.survey(&Observed {
            now: MonotonicNs(self.now),
            asleep_in_send: self.asleep_in_send.as_ref(),
            fold: &|place| self.stacks.fold(place),
        })
    }

    /// Looks and surveys every two seconds.
    pub(crate) fn watch(&mut self, times: usize) -> Survey {
        for _ in 0..times {
            self.wait_ms(2_000);
            self.snapshot();
            self.survey();
        }
        self.survey()
    }

    fn at(&self) -> MonotonicNs {
        MonotonicNs(self.now)
    }
}

/// The name of a thread.
pub(crate) fn name(text: &str) -> Comm {
    let mut comm = [0; COMM_LEN];
    let len = text.len().min(COMM_LEN - 1);
    comm[..len].copy_from_slice(&text.as_bytes()[..len]);
    Comm(comm)
}
