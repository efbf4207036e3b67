//! What an event costs from the ring buffer's bytes to what is known: `cargo bench -p tcpstate --bench decode`.

use std::{hint::black_box, time::Duration};

use bytemuck::Zeroable as _;
use criterion::{Criterion, Throughput};
use tcpstate_common::{
    event::{KIND_TRANSITION, TaskRecord, TransitionRecord, owner_source},
    leak::{EnteredRecord, KIND_CLOSED, KIND_ENTERED, KIND_EOF_READ, SocketEvent},
    state::{AF_INET, IPPROTO_TCP, TcpState},
};
use tcpstate_core::{
    aggregate::{
        dwell::DwellTable,
        leaks::{LeakOptions, Leaks},
    },
    decode,
};

/// Records in one measured round.
const ROUND: u64 = 42_000;

fn transition(n: u64, kind: u32) -> TransitionRecord {
    let tgid = 1_000 + (n % 50) as u32;
    let mut record = TransitionRecord::zeroed();
    record.kind = kind;
    record.old_state = TcpState::Established as u8;
    record.new_state = TcpState::CloseWait as u8;
    record.owner_source = owner_source::ACCEPT;
    record.ts_ns = 1_000_000_000 + n * 1_000;
    record.in_old_ns = n * 98_765;
    record.cookie = n + 1;
    record.skaddr = 0xffff_8881_0000_0000 + n * 0x940;
    record.owner = TaskRecord { tgid, tid: tgid, comm: *b"nginx: worker\0\0\0", start_ns: 1 };
    record.netns = 4_026_531_840;
    record.local_port = 443;
    record.remote_port = (n % 60_000) as u16;
    record.family = AF_INET;
    record.protocol = IPPROTO_TCP;
    record
}

/// A socket's time in CLOSE_WAIT: FIN, read, close.
fn life(n: u64) -> [Vec<u8>; 3] {
    let entered = EnteredRecord { transition: transition(n, KIND_ENTERED), place: n % 100 + 1 };
    let event = |kind| SocketEvent {
        kind,
        new_state: TcpState::LastAck as u8,
        pad: [0; 3],
        ts_ns: entered.transition.ts_ns + 500,
        cookie: entered.transition.cookie,
        skaddr: entered.transition.skaddr,
        actor: entered.transition.owner,
        place: 101,
    };
    let [read, closed] = [KIND_EOF_READ, KIND_CLOSED].map(event);
    [bytemuck::bytes_of(&entered).to_vec(), bytemuck::bytes_of(&read).to_vec(), bytemuck::bytes_of(&closed).to_vec()]
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decode and aggregate");
    group.throughput(Throughput::Elements(ROUND));

    let records: Vec<TransitionRecord> = (0..ROUND).map(|n| transition(n, KIND_TRANSITION)).collect();
    let mut dwell = DwellTable::default();
    group.bench_function("trace", |bencher| {
        bencher.iter(|| {
            for record in &records {
                let transition = decode::transition(bytemuck::bytes_of(record)).expect("a whole record");
                dwell.record(black_box(&transition));
            }
        });
    });

    let records: Vec<Vec<u8>> = (0..ROUND / 3).flat_map(life).collect();
    let options =
        LeakOptions { older_than: Duration::from_secs(1), accept_hook: true, receive_hook: true, descriptors: true };
    let mut leaks = Leaks::new(options);
    group.bench_function("leaks", |bencher| {
        bencher.iter(|| {
            for record in &records {
                leaks.push(black_box(&decode::leak::event(record).expect("a whole record")));
            }
        });
    });
    group.finish();
    criterion.final_summary();
}
