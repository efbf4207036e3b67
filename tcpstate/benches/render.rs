//! What one transition costs on its way out of user space: `cargo bench -p tcpstate --bench render`.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use criterion::{Criterion, Throughput};
use jiff::tz::TimeZone;
use tcpstate::report::{
    clock::{TimeFormat, TimeStyle, WallClock},
    trace_json::TraceJson,
    trace_text::TraceText,
};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::dwell::DwellTable,
    model::{Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Transition},
};

/// Transitions in one measured round.
const ROUND: u64 = 10_000;
const CLOCK: WallClock = WallClock { offset_ns: 1_790_000_000_000_000_000 };

/// Half of them over IPv4, half over IPv6, of different processes, sockets and moments.
fn transitions() -> Vec<Transition> {
    let client = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6))];
    let server =
        [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 4)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 8, 0, 0, 0, 1))];
    (0..ROUND)
        .map(|n| {
            let (family, index) = if n % 2 == 0 { (Family::Inet, 0) } else { (Family::Inet6, 1) };
            let pid = 1_000 + (n % 5_000) as u32;
            Transition {
                at: MonotonicNs(86_400_000_000_000 + n * 1_234_567),
                socket: SocketId { cookie: NonZeroU64::new(4_000_000 + n), skaddr: 0xffff_8881_0000_0000 + n * 0x940 },
                id: NonZeroU64::new((n + 1) << 13),
                old: State::Known(TcpState::Established),
                new: State::Known(TcpState::CloseWait),
                in_old: Dwell::Exact(n * 98_765),
                owner: Some(Owner {
                    pid,
                    tid: pid,
                    comm: Comm(*b"nginx: worker\0\0\0"),
                    source: OwnerSource::Accept,
                    start: None,
                }),
                family,
                protocol: Protocol::Tcp,
                local: Endpoint { addr: server[index], port: 443 },
                remote: Endpoint { addr: client[index], port: 32_768 + (n % 28_000) as u16 },
                netns: 4_026_531_840,
                cgroup: NonZeroU64::new(7_531),
                uid: 33,
            }
        })
        .collect()
}

fn main() {
    let transitions = transitions();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("transition");
    group.throughput(Throughput::Elements(ROUND));

    let mut out = Vec::new();
    let mut json = TraceJson::new(CLOCK);
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            out.clear();
            transitions.iter().for_each(|transition| json.transition(&mut out, transition).expect("a Vec takes it"));
            black_box(&out);
        });
    });

    let time = TimeFormat { style: TimeStyle::Local, clock: CLOCK, start: MonotonicNs(0), zone: TimeZone::system() };
    let mut text = TraceText::new(time, true);
    group.bench_function("text", |bencher| {
        bencher.iter(|| {
            out.clear();
            transitions.iter().for_each(|transition| text.transition(&mut out, transition).expect("a Vec takes it"));
            black_box(&out);
        });
    });

    let mut dwell = DwellTable::default();
    group.bench_function("dwell", |bencher| {
        bencher.iter(|| transitions.iter().for_each(|transition| dwell.record(black_box(transition))));
    });
    group.finish();
    criterion.final_summary();
}
