//! Ever new places, processes, threads, peers and ports: what is kept of them does not grow. A test of its own, because it counts every
//! allocation of its process.

use std::{
    alloc::System,
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    time::Duration,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::leaks::{LeakOptions, Leaks, Observed},
    model::{
        Comm, Endpoint, Family, MonotonicNs, Owner, OwnerSource, ProcessStart, Protocol, SocketId, State,
        leak::{Actor, FoundHolder, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts},
    },
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MS: u64 = 1_000_000;
/// Sockets a second, and how many of them there are at a time.
const RATE: u64 = 300;
const LIVE: usize = 750;
/// Seconds after which everything that has a bound has reached it, and those that follow.
const FIRST: u64 = 60;
const THEN: u64 = 120;
/// What may be kept after all that, and by how much it may differ at the end, MiB.
const MOST: i64 = 8;
const SLACK: i64 = 1;

/// The `n`th socket, and what is done to it: by a process, a thread and code that no other has.
fn facts(n: u64) -> SocketFacts {
    let addr = |n: u64| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n as u32));
    SocketFacts {
        id: SocketId { cookie: NonZeroU64::new(n + 1), skaddr: 0xffff_8881_0000_0000 + n % 4_096 * 0x940 },
        family: Family::Inet,
        protocol: Protocol::Tcp,
        local: Endpoint { addr: addr(1), port: (n % 60_000) as u16 },
        remote: Endpoint { addr: addr(n), port: (n % 50_000) as u16 },
        netns: 4_026_531_840 + (n / 1_000) as u32,
        cgroup: None,
        uid: 1_000,
    }
}

fn owner(n: u64) -> Owner {
    let mut comm = [0; 16];
    comm[..8].copy_from_slice(&n.to_be_bytes());
    let source = if n.is_multiple_of(2) { OwnerSource::Accept } else { OwnerSource::Connect };
    Owner { pid: n as u32, tid: n as u32, comm: Comm(comm), source, start: ProcessStart::from_ns(n) }
}

fn entered(n: u64, at: MonotonicNs) -> LeakEvent {
    LeakEvent::Entered { at, facts: facts(n), owner: Some(owner(n)), opened: Some(PlaceId(3 * n + 1)) }
}

fn read(n: u64, at: MonotonicNs) -> LeakEvent {
    let Owner { pid, tid, comm, start, .. } = owner(n);
    LeakEvent::EofRead { at, socket: facts(n).id, by: Actor { pid, tid, comm, start }, place: Some(PlaceId(3 * n + 2)) }
}

fn closed(n: u64, at: MonotonicNs) -> [LeakEvent; 2] {
    let Owner { pid, tid, comm, start, .. } = owner(n);
    let (socket, new) = (facts(n).id, State::Known(TcpState::LastAck));
    let closed = Some((Actor { pid, tid, comm, start }, Some(PlaceId(3 * n + 3))));
    [LeakEvent::Left { at, socket, new, closed }, LeakEvent::Destroyed { at, socket }]
}

fn found(n: u64) -> FoundSocket {
    FoundSocket {
        facts: facts(n),
        state: State::Known(TcpState::CloseWait),
        owner: Some(owner(n)),
        opened: Some(PlaceId(3 * n + 1)),
        since: None,
        eof_read: true,
        unaccepted: false,
        load: None,
        holders: vec![Holder { pid: n as u32, fd: 5 }],
        awaited_by: None,
    }
}

/// What is the load and what traces it.
struct Soak {
    leaks: Leaks,
    live: VecDeque<u64>,
    number: u64,
}

impl Soak {
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            for _ in 0..RATE {
                self.number += 1;
                let (n, at) = (self.number, MonotonicNs(self.number * 1_000 * MS / RATE));
                self.leaks.push(&entered(n, at));
                self.leaks.push(&read(n, at));
                self.live.push_back(n);
                if self.live.len() > LIVE
                    && let Some(old) = self.live.pop_front()
                {
                    closed(old, at).iter().for_each(|event| self.leaks.push(event));
                }
            }
            let now = MonotonicNs((self.number + 1) * 1_000 * MS / RATE);
            let holder = |&n: &u64| FoundHolder {
                pid: n as u32,
                comm: owner(n).comm,
                descriptors: 7,
                descriptor_limit: Some(1_024),
            };
            let start = |&n: &u64| Some((n as u32, ProcessStart::from_ns(n)?));
            self.leaks.reconcile(&Snapshot {
                taken: now,
                complete: now,
                sockets: self.live.iter().map(|&n| found(n)).collect(),
                listeners: Vec::new(),
                processes: self.live.iter().map(holder).collect(),
                starts: self.live.iter().filter_map(start).collect::<BTreeMap<_, _>>(),
            });
            let survey = self.leaks.survey(&Observed { now, asleep_in_send: None, fold: &|place| place });
            assert_eq!(survey.totals.close_wait, self.live.len() as u64);
        }
    }
}

#[test]
fn what_is_kept_does_not_grow() {
    let options = LeakOptions {
        older_than: Duration::from_millis(500),
        accept_hook: true,
        receive_hook: true,
        descriptors: true,
    };
    let region = Region::new(ALLOCATOR);
    let mut soak = Soak { leaks: Leaks::new(options), live: VecDeque::new(), number: 0 };
    let kept = || {
        let change = region.change();
        (change.bytes_allocated as i64 - change.bytes_deallocated as i64) >> 10
    };
    soak.run(FIRST);
    let at_first = kept();
    println!("{at_first} KiB after {FIRST} s");
    assert!(at_first < MOST << 10, "{at_first} KiB after {FIRST} s");
    soak.run(THEN);
    let then = kept();
    println!("{then} KiB after {} s", FIRST + THEN);
    assert!(then - at_first < SLACK << 10, "{at_first} KiB after {FIRST} s, {then} KiB after {} s", FIRST + THEN);
}
