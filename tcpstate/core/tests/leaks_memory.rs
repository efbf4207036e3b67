//! What a million sockets in CLOSE_WAIT take. A test of its own, because it counts every allocation of its process.

use std::{
    alloc::System,
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU64,
    time::{Duration, Instant},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::leaks::{LeakOptions, Leaks, Observed},
    model::{
        Comm, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State,
        leak::{Actor, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts, SocketLoad},
    },
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SOCKETS: u64 = 1_000_000;
/// Sockets that go and come afterwards; each makes four events.
const CHURN: u64 = 250_000;
const MS: u64 = 1_000_000;
const COMM: Comm = Comm(*b"nginx: worker\0\0\0");

/// One of fifty.
fn process(n: u64) -> u32 {
    1_000 + (n % 50) as u32
}

/// Over IPv6, of many processes and threads, no two alike.
fn facts(n: u64) -> SocketFacts {
    let addr = |host: u64| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(host)));
    SocketFacts {
        id: SocketId { cookie: NonZeroU64::new(n + 1), skaddr: 0xffff_8881_0000_0000 + n % SOCKETS * 0x940 },
        family: Family::Inet6,
        protocol: Protocol::Tcp,
        local: Endpoint { addr: addr(1), port: 443 },
        remote: Endpoint { addr: addr(n), port: (n % 60_000) as u16 },
        netns: 4_026_531_840,
        cgroup: None,
        uid: 33,
    }
}

fn entered(n: u64, at: MonotonicNs) -> LeakEvent {
    let pid = process(n);
    let owner = Some(Owner { pid, tid: n as u32, comm: COMM, source: OwnerSource::Accept, start: None });
    LeakEvent::Entered { at, facts: facts(n), owner, opened: Some(PlaceId(n % 100)) }
}

fn read(n: u64, at: MonotonicNs) -> LeakEvent {
    let by = Actor { pid: process(n), tid: n as u32, comm: COMM, start: None };
    LeakEvent::EofRead { at, socket: facts(n).id, by, place: Some(PlaceId(100 + n % 100)) }
}

/// Its leaving and its end.
fn closed(n: u64, at: MonotonicNs) -> [LeakEvent; 2] {
    let (socket, new) = (facts(n).id, State::Known(TcpState::LastAck));
    let by = Actor { pid: 1, tid: 1, comm: COMM, start: None };
    [LeakEvent::Left { at, socket, new, closed: Some((by, Some(PlaceId(200)))) }, LeakEvent::Destroyed { at, socket }]
}

fn found(n: u64) -> FoundSocket {
    FoundSocket {
        facts: facts(n),
        state: State::Known(TcpState::CloseWait),
        owner: None,
        opened: None,
        since: None,
        eof_read: true,
        unaccepted: false,
        load: Some(SocketLoad {
            recv_q: 0,
            send_q: 0,
            last_data_recv_ms: 9_000,
            last_ack_recv_ms: 8_000,
            last_data_sent_ms: 9_000,
            traffic: None,
        }),
        holders: vec![Holder { pid: process(n), fd: n as u32 }],
        awaited_by: None,
    }
}

#[test]
fn a_million_sockets() {
    let options =
        LeakOptions { older_than: Duration::from_secs(1), accept_hook: true, receive_hook: true, descriptors: true };
    let mut leaks = Leaks::new(options);
    let region = Region::new(ALLOCATOR);
    let begun = Instant::now();
    for n in 0..SOCKETS {
        leaks.push(&entered(n, MonotonicNs(1_000 * MS + n)));
        leaks.push(&read(n, MonotonicNs(1_001 * MS + n)));
    }
    println!("{} events pushed in {:?}", 2 * SOCKETS, begun.elapsed());
    let snapshot = Snapshot {
        taken: MonotonicNs(10_000 * MS),
        complete: MonotonicNs(10_100 * MS),
        sockets: (0..SOCKETS).map(found).collect(),
        listeners: Vec::new(),
        processes: Vec::new(),
        starts: BTreeMap::new(),
    };
    let begun = Instant::now();
    let reconciled = leaks.reconcile(&snapshot);
    println!("reconciled with {SOCKETS} sockets in {:?}", begun.elapsed());
    assert_eq!((reconciled.added, reconciled.dropped, reconciled.doubtful), (0, 0, 0));
    drop(snapshot);

    let kept = |region: &Region<'_, System>| {
        let change = region.change();
        (change.bytes_allocated as i64 - change.bytes_deallocated as i64 + change.bytes_reallocated as i64) as u64
    };
    println!("{} bytes a socket", kept(&region) / SOCKETS);
    assert!(kept(&region) / SOCKETS < 300, "{} bytes a socket", kept(&region) / SOCKETS);

    // One close late for each origin, so that only what comes again and again is left.
    let churn = |leaks: &mut Leaks, sockets: std::ops::Range<u64>| {
        for n in sockets {
            let at = MonotonicNs(11_000 * MS + n * 1_000);
            for event in closed(n, at) {
                leaks.push(&event);
            }
            leaks.push(&entered(n + SOCKETS, at));
            leaks.push(&read(n + SOCKETS, at));
        }
    };
    churn(&mut leaks, 0..CHURN);
    let steady = Region::new(ALLOCATOR);
    let begun = Instant::now();
    churn(&mut leaks, CHURN..2 * CHURN);
    println!("{} events of sockets that go and come in {:?}", 4 * CHURN, begun.elapsed());
    let change = steady.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "events allocate: {change:?}");

    let begun = Instant::now();
    let survey = leaks.survey(&Observed { now: MonotonicNs(20_000 * MS), asleep_in_send: None, fold: &|place| place });
    println!("surveyed in {:?}: {} groups", begun.elapsed(), survey.groups.len());
    assert_eq!(survey.totals.close_wait, SOCKETS);
    assert_eq!(survey.groups.iter().map(|group| group.sockets).sum::<u64>(), SOCKETS);
    assert_eq!(survey.totals.closed_late, 2 * CHURN);
}
