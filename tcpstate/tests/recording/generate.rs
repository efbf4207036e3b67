//! A recording of a busy server: connections that are opened, used, closed by their peers, and closed.

use std::{
    collections::BTreeMap,
    mem,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    path::Path,
};

use tcpstate_common::state::TcpState::{Close, CloseWait, Established, LastAck, Listen, SynRecv};
use tcpstate_core::model::{
    Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Totals, Transition,
    census::{Census, FoundNamespace, FoundProcess, ListedSocket},
    event::Event,
    leak::{LeakEvent, LeakLosses, PlaceId, Snapshot},
    probes::{HookAttempt, Hooks, Probes, Role, RoleProbe},
};
use tcpstate_fuzzing::noise::Noise;
use tcpstate_recording::{Checkpoint, Content, Counts, EVENTS_IN_A_FRAME, Names, RecordingEnd, Start, Writer};

/// When generated recordings begin.
pub(crate) const START: MonotonicNs = MonotonicNs(5_000_000_000_000);

pub(crate) fn start() -> Start {
    let probe = |(role, hook): (Role, &str)| RoleProbe {
        role,
        attempts: vec![HookAttempt { hook: hook.to_owned(), refused: None }],
    };
    let hooks = [
        (Role::Transitions, "tp_btf/inet_sock_set_state"),
        (Role::Ends, "tp_btf/tcp_destroy_sock"),
        (Role::Accept, "fexit/inet_csk_accept"),
        (Role::EofReads, "tp_btf/sock_recv_length"),
    ];
    Start {
        tcpstate: "0.1.0".to_owned(),
        host: "gateway".to_owned(),
        boot_id: "e6b7c8a2-0000-4000-8000-000000000000".to_owned(),
        at: START,
        wall_offset_ns: 1_790_000_000_000_000_000,
        zone: Some("Europe/Vienna".to_owned()),
        zone_offset_s: 7200,
        filters: Vec::new(),
        late_ns: 1_000_000_000,
        stack_bytes: 16 << 10,
        file: 0,
        probes: Probes {
            hooks: Hooks {
                kernel: "6.18.0".to_owned(),
                lockdown: Some("none".to_owned()),
                roles: hooks.map(probe).into(),
            },
            snapshot_sockets: 12,
            snapshot_netns: 1,
            buffer_bytes: 16 << 20,
        },
    }
}

/// Connections one after another, many of them open at a time; every hundredth is never closed.
pub(crate) struct Connections {
    noise: Noise,
    now: u64,
    cookie: u64,
    /// Addresses of `struct sock` that are free, the last freed first.
    slab: Vec<u64>,
    /// The next step of connections, by time.
    next: BTreeMap<(u64, u64), (u8, Open)>,
}

#[derive(Clone, Copy)]
struct Open {
    socket: SocketId,
    owner: Owner,
    remote: Endpoint,
    since: u64,
    leaks: bool,
}

impl Connections {
    pub(crate) fn new() -> Self {
        let slab = (0..4096).map(|slot| 0xffff_8881_0000_0000 + slot * 0x940).collect();
        Self { noise: Noise(42), now: START.0, cookie: 1000, slab, next: BTreeMap::new() }
    }

    fn open(&mut self) {
        self.cookie += 1;
        self.now += 20_000 + self.noise.below(40_000);
        let pid = 4000 + u32::try_from(self.noise.below(8)).expect("small");
        let host = u8::try_from(self.noise.below(200)).expect("small");
        let skaddr = self.slab.pop().unwrap_or(0xffff_8882_0000_0000 + self.cookie * 0x940);
        let open = Open {
            socket: SocketId { cookie: NonZeroU64::new(self.cookie), skaddr },
            owner: Owner {
                pid,
                tid: pid,
                comm: Comm(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"),
                source: OwnerSource::Accept,
                start: None,
            },
            remote: Endpoint {
                addr: IpAddr::V4(Ipv4Addr::new(10, 1, 2, host)),
                port: 1024 + u16::try_from(self.noise.below(60_000)).expect("small"),
            },
            since: 0,
            leaks: self.cookie.is_multiple_of(100),
        };
        self.next.insert((self.now, self.cookie), (0, open));
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Vec<Event> {
        while self.next.len() < 500 {
            self.open();
        }
        let ((at, order), (step, open)) = self.next.pop_first().expect("just filled");
        let states = [Listen, SynRecv, Established, CloseWait, LastAck, Close];
        let (old, new) = (states[usize::from(step)], states[usize::from(step) + 1]);
        let transition = Transition {
            at: MonotonicNs(at),
            socket: open.socket,
            id: open.socket.cookie,
            old: State::Known(old),
            new: State::Known(new),
            in_old: if step == 0 { Dwell::Unknown } else { Dwell::Exact(at - open.since) },
            owner: Some(open.owner),
            family: Family::Inet,
            protocol: Protocol::Tcp,
            local: Endpoint { addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port: 443 },
            remote: open.remote,
            netns: 4_026_531_833,
            cgroup: NonZeroU64::new(5051),
            uid: 33,
        };
        let after = [10_000, 50_000_000, 1_000_000, 90_000][usize::from(step.min(3))];
        let later = at + after / 2 + self.noise.below(after);
        if step < 4 && !(open.leaks && step == 2) {
            self.next.insert((later, order), (step + 1, Open { since: at, ..open }));
        }
        match step {
            2 => vec![Event::Entered { transition, opened: Some(PlaceId(7 + self.noise.below(3))) }],
            3 => vec![
                Event::Beside(LeakEvent::Left {
                    at: transition.at,
                    socket: open.socket,
                    new: transition.new,
                    closed: None,
                }),
                Event::Transition(transition),
            ],
            4 => {
                self.slab.push(open.socket.skaddr);
                let gone = LeakEvent::Destroyed { at: transition.at, socket: open.socket };
                vec![Event::Transition(transition), Event::Beside(gone)]
            }
            _ => vec![Event::Transition(transition)],
        }
    }
}

pub(crate) fn names() -> Names {
    Names {
        cgroups: vec![(5051, b"/system.slice/nginx.service".to_vec())],
        netns: vec![(4_026_531_833, b"blue".to_vec())],
        parents: vec![(4000, 3999), (4001, 3999), (3999, 1)],
    }
}

/// A checkpoint without anything but the time.
pub(crate) fn checkpoint(now: MonotonicNs, snapshot: Option<Snapshot>) -> Checkpoint {
    Checkpoint {
        now,
        snapshot,
        in_send: None,
        sleepers: BTreeMap::new(),
        losses: LeakLosses::default(),
        unrepaired: false,
    }
}

/// A census of so many sockets of one process.
pub(crate) fn census(sockets: u32) -> Census {
    let end = |addr, port| Endpoint { addr: IpAddr::V4(addr), port };
    let mut noise = Noise(7);
    let socket = |number: u32, noise: &mut Noise| ListedSocket {
        cookie: 0,
        family: Family::Inet,
        state: State::Known(Established),
        local: end(Ipv4Addr::new(10, 0, 0, 1), 443),
        remote: end(Ipv4Addr::new(10, 1, 2, 3), 1024 + u16::try_from(noise.below(60_000)).expect("small")),
        inode: 5_000_000 + number,
        cgroup: NonZeroU64::new(5051),
        receive_queue: 0,
        send_queue: 0,
        age: None,
    };
    let listed = (0..sockets).map(|number| socket(number, &mut noise)).collect();
    Census {
        namespaces: vec![FoundNamespace { inode: 4_026_531_833, sockets: listed, ..FoundNamespace::default() }],
        processes: vec![FoundProcess { pid: 4000, comm: None, descriptors: u64::from(sockets), limit: None }],
        holders: (0..sockets).map(|number| (5_000_000 + number, 0)).collect(),
        ..Census::default()
    }
}

/// A recording, and events that wait until there are enough of them or something else comes.
pub(crate) struct Recording {
    writer: Writer,
    events: Vec<Event>,
}

impl Recording {
    pub(crate) fn create(path: &Path) -> Self {
        Self { writer: Writer::create(path, true, None).expect("a file"), events: Vec::new() }
    }

    /// Returns whether so many events waited that they were written.
    pub(crate) fn event(&mut self, event: Event) -> bool {
        self.events.push(event);
        let full = self.events.len() >= EVENTS_IN_A_FRAME;
        if full {
            self.flush();
        }
        full
    }

    pub(crate) fn write(&mut self, content: Content) {
        self.flush();
        self.writer.write(content).expect("disk");
    }

    pub(crate) fn write_census(&mut self, census: Census, now: MonotonicNs) {
        for content in Content::of_census(census, now) {
            self.write(content);
        }
    }

    fn flush(&mut self) {
        if !self.events.is_empty() {
            self.writer.write(Content::Events(mem::take(&mut self.events))).expect("disk");
        }
    }
}

/// Writes a recording of at least so many transitions; returns how many there are, and the last moment. For each block
/// of events there is a census of so many sockets; none where there are no sockets.
pub(crate) fn write(path: &Path, transitions: u64, sockets: u32) -> (u64, MonotonicNs) {
    let mut recording = Recording::create(path);
    recording.write(Content::Start(Box::new(start())));
    recording.write(Content::Names(names()));
    let mut connections = Connections::new();
    let mut totals = Totals::default();
    let mut last = START;
    recording.write(Content::Checkpoint(Box::new(checkpoint(last, None))));
    while totals.seen < transitions {
        for event in connections.event() {
            last = last.max(event.at());
            totals.seen += u64::from(event.transition().is_some());
            if recording.event(event) && sockets > 0 {
                recording.write_census(census(sockets), last);
            }
        }
    }
    totals.transitions = totals.seen;
    recording.write(Content::Checkpoint(Box::new(checkpoint(last, None))));
    recording.write(Content::Counts(Counts { at: last, totals }));
    recording.write(Content::End(RecordingEnd { at: last, rotated: false }));
    recording.writer.sync().expect("disk");
    (totals.seen, last)
}
