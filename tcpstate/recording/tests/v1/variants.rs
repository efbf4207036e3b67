//! A recording that has every kind of frame in it, with everything in each that may be there or be missing.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::Arc,
};

use tcpstate_core::model::{
    Age, Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Totals, Transition,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
    event::Event,
    leak::{
        Actor, FoundHolder, FoundListener, FoundSocket, Holder, LeakEvent, LeakLosses, PlaceId, Snapshot, SocketFacts,
        SocketLoad,
    },
    probes::{HookAttempt, Hooks, Probes, Refusal, Role, RoleProbe},
    stack::{Frame, Sleepers, Source, Stack},
};
use tcpstate_recording::{Checkpoint, Content, Counts, Names, RecordingEnd, Start};

/// What the recording says, frame by frame.
pub(crate) fn contents() -> Vec<Content> {
    let mut contents = vec![
        Content::Start(Box::new(start())),
        Content::Counts(Counts { at: MonotonicNs(1), totals: Totals::default() }),
        Content::Names(names()),
        Content::Events(events()),
        Content::Events(Vec::new()),
        Content::Sockets(sockets()),
        Content::Stacks(stacks()),
        Content::Checkpoint(Box::new(full())),
        Content::Checkpoint(Box::new(empty())),
    ];
    contents.extend(Content::of_census(census(), MonotonicNs(9_000_000_000)));
    contents.push(Content::Counts(counts()));
    contents.push(Content::End(RecordingEnd { at: MonotonicNs(u64::MAX), rotated: true }));
    contents.push(Content::End(RecordingEnd { at: MonotonicNs(0), rotated: false }));
    contents
}

fn start() -> Start {
    let refused = |errno, reason: &str| Some(Refusal { errno, reason: reason.to_owned() });
    let attempts = |role: Role| {
        let attempt = |hook: &str, refused| HookAttempt { hook: hook.to_owned(), refused };
        match role {
            Role::Accept => vec![
                attempt("fexit/inet_csk_accept", refused(Some(95), "Operation not supported")),
                attempt("kretprobe/inet_csk_accept", refused(None, "no such function")),
                attempt("tracepoint/syscalls:sys_exit_accept{,4}", None),
            ],
            Role::SpliceReads => Vec::new(),
            role => vec![attempt(role.name(), None)],
        }
    };
    Start {
        tcpstate: "0.1.0".to_owned(),
        host: "gateway".to_owned(),
        boot_id: "e6b7c8a2-0000-4000-8000-000000000000".to_owned(),
        at: MonotonicNs(5_000_000_000),
        wall_offset_ns: -1_790_000_000_000_000_000,
        zone: None,
        zone_offset_s: -34_200,
        filters: vec!["--comm".to_owned(), "nginx".to_owned()],
        late_ns: 1_000_000_000,
        stack_bytes: 16 << 10,
        file: 3,
        probes: Probes {
            hooks: Hooks {
                kernel: "6.18.0".to_owned(),
                lockdown: None,
                roles: Role::ALL.map(|role| RoleProbe { role, attempts: attempts(role) }).into(),
            },
            snapshot_sockets: 12,
            snapshot_netns: 1,
            buffer_bytes: 16 << 20,
        },
    }
}

fn names() -> Names {
    Names {
        cgroups: vec![(1, b"/".to_vec()), (5051, b"/system.slice/\xff.service".to_vec())],
        netns: vec![(4_026_531_833, b"blue".to_vec())],
        parents: vec![(4000, 3999), (3999, 1)],
    }
}

fn comm(name: &[u8]) -> Comm {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name);
    Comm(comm)
}

fn v4(last: u8, port: u16) -> Endpoint {
    Endpoint { addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port }
}

fn v6(last: u16, port: u16) -> Endpoint {
    Endpoint { addr: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)), port }
}

fn socket(cookie: u64, skaddr: u64) -> SocketId {
    SocketId { cookie: NonZeroU64::new(cookie), skaddr: 0xffff_8880_0000_0000 + skaddr }
}

fn owner(pid: u32, source: OwnerSource) -> Owner {
    Owner { pid, tid: pid + 1, comm: comm(b"nginx"), source, start: None }
}

fn actor(pid: u32) -> Actor {
    Actor { pid, tid: pid, comm: comm(b"\xffworker"), start: None }
}

/// A transition of the socket with this cookie.
fn transition(at: u64, cookie: u64, (old, new): (u8, u8), in_old: Dwell, owner: Option<Owner>) -> Transition {
    Transition {
        at: MonotonicNs(at),
        socket: socket(cookie, cookie * 0x940),
        id: NonZeroU64::new(cookie << 13),
        old: State::from(old),
        new: State::from(new),
        in_old,
        owner,
        family: Family::Inet,
        protocol: Protocol::Tcp,
        local: v4(1, 443),
        remote: v4(2, 50_000),
        netns: 4_026_531_833,
        cgroup: NonZeroU64::new(5051),
        uid: 33,
    }
}

fn events() -> Vec<Event> {
    let of = |event: Transition| Event::Transition(event);
    let id = socket(7, 7 * 0x940);
    let at = MonotonicNs;
    vec![
        of(transition(1_000_000, 7, (7, 2), Dwell::Unknown, Some(owner(42, OwnerSource::Connect)))),
        // Exactly since the transition before, which is not written again.
        of(transition(1_250_000, 7, (2, 1), Dwell::Exact(250_000), Some(owner(42, OwnerSource::Connect)))),
        of(transition(1_260_000, 7, (1, 4), Dwell::Exact(9), Some(owner(42, OwnerSource::Accept)))),
        // What one CPU saw may come after what another saw later.
        of(transition(1_240_000, 8, (10, 12), Dwell::AtLeast(5), Some(owner(43, OwnerSource::Listen)))),
        of(Transition {
            socket: socket(0, 9 * 0x940),
            id: None,
            family: Family::Inet6,
            protocol: Protocol::Mptcp,
            local: v6(1, 443),
            remote: v6(2, 50_001),
            cgroup: None,
            ..transition(1_300_000, 9, (1, 200), Dwell::AtLeast(u64::MAX), Some(owner(44, OwnerSource::Snapshot)))
        }),
        of(Transition { protocol: Protocol::Other(132), ..transition(1_300_000, 10, (0, 1), Dwell::Exact(0), None) }),
        Event::Entered {
            transition: transition(2_000_000, 7, (1, 8), Dwell::Exact(740_000), None),
            opened: Some(PlaceId(u64::MAX)),
        },
        Event::Entered { transition: transition(2_000_001, 8, (1, 8), Dwell::Unknown, None), opened: None },
        Event::Beside(LeakEvent::Accepted {
            at: at(2_100_000),
            socket: id,
            owner: owner(42, OwnerSource::Accept),
            opened: Some(PlaceId(1)),
        }),
        Event::Beside(LeakEvent::EofRead { at: at(2_200_000), socket: id, by: actor(42), place: Some(PlaceId(2)) }),
        Event::Beside(LeakEvent::EofRead { at: at(2_200_001), socket: id, by: actor(45), place: None }),
        Event::Beside(LeakEvent::Left {
            at: at(2_300_000),
            socket: id,
            new: State::from(9),
            closed: Some((actor(42), Some(PlaceId(3)))),
        }),
        Event::Beside(LeakEvent::Left {
            at: at(2_300_001),
            socket: id,
            new: State::from(9),
            closed: Some((actor(42), None)),
        }),
        Event::Beside(LeakEvent::Left { at: at(2_300_002), socket: id, new: State::from(7), closed: None }),
        Event::Beside(LeakEvent::Destroyed { at: at(2_400_000), socket: socket(0, 1) }),
    ]
}

fn facts(cookie: u64) -> SocketFacts {
    SocketFacts::from(&transition(0, cookie, (1, 8), Dwell::Unknown, None))
}

fn sockets() -> Vec<FoundSocket> {
    let load = SocketLoad {
        recv_q: 1,
        send_q: u32::MAX,
        last_data_recv_ms: 1000,
        last_ack_recv_ms: 900,
        last_data_sent_ms: 2000,
        traffic: None,
    };
    vec![
        FoundSocket {
            facts: facts(7),
            state: State::from(8),
            owner: Some(owner(42, OwnerSource::Accept)),
            opened: Some(PlaceId(1)),
            since: Some(MonotonicNs(2_000_000)),
            eof_read: true,
            unaccepted: false,
            load: Some(load),
            holders: vec![Holder { pid: 42, fd: 5 }, Holder { pid: 43, fd: 5 }],
            awaited_by: Some(44),
        },
        FoundSocket {
            facts: SocketFacts { cgroup: None, protocol: Protocol::Mptcp, ..facts(8) },
            state: State::from(99),
            owner: None,
            opened: None,
            since: None,
            eof_read: false,
            unaccepted: true,
            load: None,
            holders: Vec::new(),
            awaited_by: None,
        },
    ]
}

fn frame(function: Option<&str>, source: Option<(&[u8], Option<u32>)>, module: Option<&[u8]>) -> Frame {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    Frame {
        function: function.map(str::to_owned),
        source: source.map(|(file, line)| Source { file: path(file), line }),
        module: module.map(|module| path(module).into()),
        offset: 0x11b1,
        inlined: source.is_some_and(|(_, line)| line.is_none()),
        runtime: module == Some(b"/opt/app/\xff.so"),
    }
}

fn stacks() -> Vec<(PlaceId, Arc<Stack>)> {
    let stack = Stack {
        frames: vec![
            frame(Some("accept4"), None, Some(b"/usr/lib/libc.so.6")),
            frame(Some("session<T>"), Some((b"/opt/app/\xff.rs", None)), Some(b"/opt/app/server")),
            frame(Some("main"), Some((b"/opt/app/main.rs", Some(7))), Some(b"/opt/app/server")),
            frame(None, None, Some(b"/opt/app/\xff.so")),
            frame(None, None, None),
        ],
        kernel: vec!["inet_csk_accept".to_owned(), "do_syscall_64".to_owned()],
        truncated: Some("no unwind information".to_owned()),
        hint: Some("run `jcmd 42 Compiler.perfmap`".to_owned()),
        process: None,
    };
    vec![(PlaceId(1), Arc::new(stack)), (PlaceId(u64::MAX), Arc::default())]
}

fn full() -> Checkpoint {
    let sleepers = |threads, syscall: Option<&str>, (_, stack): (PlaceId, Arc<Stack>)| Sleepers {
        threads,
        tid: 43,
        pid: 42,
        comm: comm(b"sixteen bytes ok"),
        syscall: syscall.map(str::to_owned),
        stack,
    };
    let [first, second] = <[_; 2]>::try_from(stacks()).expect("two");
    let listener = |owner| FoundListener {
        facts: facts(11),
        owner,
        holders: Vec::new(),
        backlog: 3,
        backlog_limit: 128,
        dropped: 9,
    };
    let holder = |pid, descriptor_limit| FoundHolder { pid, comm: comm(b"nginx"), descriptors: 1000, descriptor_limit };
    Checkpoint {
        now: MonotonicNs(3_000_000),
        snapshot: Some(Snapshot {
            taken: MonotonicNs(2_900_000),
            complete: MonotonicNs(2_950_000),
            sockets: Vec::new(),
            listeners: vec![listener(Some(owner(42, OwnerSource::Listen))), listener(None)],
            processes: vec![holder(42, Some(1024)), holder(43, None)],
            starts: BTreeMap::new(),
        }),
        in_send: Some([(42, 3), (44, 1)].into()),
        sleepers: [(42, vec![sleepers(3, Some("futex"), first), sleepers(1, None, second)]), (43, Vec::new())].into(),
        losses: LeakLosses { events: 1, map_full: 2, stacks_skipped: 3, stacks_dropped: u64::MAX },
        unrepaired: true,
    }
}

fn empty() -> Checkpoint {
    Checkpoint {
        now: MonotonicNs(4_000_000),
        snapshot: None,
        in_send: None,
        sleepers: Default::default(),
        losses: LeakLosses::default(),
        unrepaired: false,
    }
}

fn census() -> Census {
    let socket = |state: u8, inode, (local, remote), age| ListedSocket {
        cookie: 0,
        family: if local == v6(1, 443) { Family::Inet6 } else { Family::Inet },
        state: State::from(state),
        local,
        remote,
        inode,
        cgroup: NonZeroU64::new(u64::from(inode) * 50),
        receive_queue: inode,
        send_queue: 128,
        age,
    };
    let bounds = |at_most_ns| Some(Age { at_least_ns: 5_000_000_000, at_most_ns });
    let process = |pid, comm, limit| FoundProcess { pid, comm, descriptors: 1000, limit };
    Census {
        namespaces: vec![
            FoundNamespace {
                inode: 4_026_531_833,
                own: false,
                names: vec![b"blue".to_vec(), b"\xff".to_vec()],
                sockets: vec![
                    socket(6, 0, (v4(1, 40_001), v4(3, 5432)), bounds(None)),
                    socket(8, 101, (v4(1, 443), v4(2, 50_000)), bounds(Some(5_100_000_000))),
                    socket(10, 102, (v6(1, 443), v6(0, 0)), None),
                ],
                listening: vec![40_003],
                listen_overflows: Some(1),
                listen_drops: Some(2),
                ports: Some(EphemeralPorts { low: 40_000, high: 40_999, reserved: vec![(40_500, 40_599)] }),
            },
            FoundNamespace { inode: 77, ..FoundNamespace::default() },
        ],
        processes: vec![process(42, Some(comm(b"nginx")), Some(1024)), process(43, None, None)],
        holders: vec![(101, 0), (101, 1), (102, 0)],
        cgroups: Default::default(),
        gaps: Gaps {
            namespaces: vec![("red".to_owned(), "not permitted".to_owned())],
            processes: 2,
            ..Gaps::default()
        },
    }
}

fn counts() -> Counts {
    let totals = Totals { transitions: 13, seen: 10, lost: 3, filtered: 5, map_full: 1, unknown_state: u64::MAX };
    Counts { at: MonotonicNs(9_000_000_001), totals }
}
