//! What leak hunting costs in user space: `cargo bench -p tcpstate --bench leaks`.
//!
//! Ten million events while a million sockets are open, and a report of that million.

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    time::Duration,
};

use criterion::{BatchSize, Criterion, Throughput};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::leaks::{LeakOptions, Leaks, Observed},
    model::{
        Comm, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State,
        leak::{Actor, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts, SocketLoad},
    },
};

const SOCKETS: u64 = 1_000_000;
/// Each of a socket's lives makes four events.
const LIVES: u64 = 2_500_000;
const COMM: Comm = Comm(*b"nginx: worker\0\0\0");

fn facts(n: u64) -> SocketFacts {
    let addr = |host: u64| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (host as u32 & 0xff_ffff)));
    SocketFacts {
        id: SocketId { cookie: NonZeroU64::new(n + 1), skaddr: 0xffff_8881_0000_0000 + n % (2 * SOCKETS) * 0x940 },
        family: Family::Inet,
        protocol: Protocol::Tcp,
        local: Endpoint { addr: addr(1), port: 443 },
        remote: Endpoint { addr: addr(n), port: (n % 60_000) as u16 },
        netns: 4_026_531_840,
        cgroup: None,
        uid: 33,
    }
}

fn process(n: u64) -> u32 {
    1_000 + (n % 50) as u32
}

fn entered(n: u64, at: u64) -> LeakEvent {
    let owner = Some(Owner { pid: process(n), tid: n as u32, comm: COMM, source: OwnerSource::Accept, start: None });
    LeakEvent::Entered { at: MonotonicNs(at), facts: facts(n), owner, opened: Some(PlaceId(n % 100)) }
}

/// A life that ends well: FIN, read, close.
fn live(leaks: &mut Leaks, n: u64, at: u64) {
    let socket = facts(n).id;
    let by = Actor { pid: process(n), tid: n as u32, comm: COMM, start: None };
    let moment = MonotonicNs(at + 1_000);
    leaks.push(&entered(n, at));
    leaks.push(&LeakEvent::EofRead { at: moment, socket, by, place: Some(PlaceId(101)) });
    leaks.push(&LeakEvent::Closed { at: moment, socket, by: Some((by, Some(PlaceId(102)))) });
}

fn a_million() -> Leaks {
    let options =
        LeakOptions { older_than: Duration::from_secs(1), accept_hook: true, receive_hook: true, descriptors: true };
    let mut leaks = Leaks::new(options);
    for n in 0..SOCKETS {
        leaks.push(&entered(n, 1_000_000 + n));
    }
    leaks
}

fn snapshot() -> Snapshot {
    let found = |n| FoundSocket {
        facts: facts(n),
        state: State::Known(TcpState::CloseWait),
        owner: None,
        opened: None,
        since: None,
        eof_read: false,
        unaccepted: false,
        load: Some(SocketLoad {
            recv_q: 1,
            send_q: 0,
            last_data_recv_ms: 9_000,
            last_ack_recv_ms: 8_000,
            last_data_sent_ms: 9_000,
            traffic: None,
        }),
        holders: vec![Holder { pid: process(n), fd: n as u32 }],
        awaited_by: None,
    };
    Snapshot {
        taken: MonotonicNs(60_000_000_000),
        complete: MonotonicNs(60_100_000_000),
        sockets: (0..SOCKETS).map(found).collect(),
        listeners: Vec::new(),
        processes: Vec::new(),
        starts: BTreeMap::new(),
    }
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("leaks");

    group.throughput(Throughput::Elements(4 * LIVES));
    group.bench_function("10M events, 1M sockets open", |bencher| {
        let mut leaks = a_million();
        bencher.iter(|| {
            for n in 0..LIVES {
                live(&mut leaks, SOCKETS + n % SOCKETS, 2_000_000_000 + n * 1_000);
            }
        });
        black_box(&leaks);
    });

    group.throughput(Throughput::Elements(SOCKETS));
    group.bench_function("reconcile 1M sockets", |bencher| {
        let snapshot = snapshot();
        let mut leaks = a_million();
        bencher.iter(|| black_box(leaks.reconcile(&snapshot)));
    });
    group.bench_function("add 1M sockets of before the trace", |bencher| {
        let snapshot = snapshot();
        let options = LeakOptions {
            older_than: Duration::from_secs(1),
            accept_hook: true,
            receive_hook: true,
            descriptors: true,
        };
        bencher.iter_batched_ref(
            || Leaks::new(options),
            |leaks| black_box(leaks.reconcile(&snapshot)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("survey 1M sockets", |bencher| {
        let mut leaks = a_million();
        leaks.reconcile(&snapshot());
        let observed = Observed { now: MonotonicNs(90_000_000_000), asleep_in_send: None, fold: &|place| place };
        bencher.iter(|| black_box(leaks.survey(&observed)));
    });
    group.finish();
    criterion.final_summary();
}
