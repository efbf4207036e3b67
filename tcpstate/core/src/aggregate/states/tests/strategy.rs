//! Sockets of machines that proptest makes up. Included by the tests of the recording format, too: `super::model` is that of `tcpstate-core`.

use std::net::IpAddr;

use proptest::{collection::vec, option, prelude::*, sample::select};
use tcpstate_common::{COMM_LEN, state::TcpState};

use super::model::{
    Age, Comm, Endpoint, Family,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
};

pub(super) const PORTS: [u16; 5] = [80, 443, 32_768, 32_769, 32_770];

fn socket() -> impl Strategy<Value = ListedSocket> {
    let addr = || select(vec!["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "fd00::1"]);
    let age = option::of((0..100_u64, option::of(0..100_u64)));
    let port = || select(PORTS.to_vec());
    (1..13_u8, addr(), port(), addr(), port(), 0..6_u32, 0..3_u64, age, 0..5_u32).prop_map(
        |(state, local, lport, remote, rport, inode, cgroup, age, queue)| {
            let addr = |text: &str| text.parse::<IpAddr>().expect("an address");
            let listens = state == TcpState::Listen as u8;
            ListedSocket {
                cookie: 0,
                family: if local.contains(':') { Family::Inet6 } else { Family::Inet },
                state: state.into(),
                local: Endpoint { addr: addr(local), port: lport },
                remote: Endpoint { addr: addr(remote), port: if listens { 0 } else { rport } },
                inode,
                cgroup: std::num::NonZeroU64::new(cgroup),
                receive_queue: queue,
                send_queue: 3,
                age: age.map(|(least, more)| Age { at_least_ns: least, at_most_ns: more.map(|more| least + more) }),
            }
        },
    )
}

pub(super) fn census() -> impl Strategy<Value = Census> {
    let holders = vec((1..6_u32, 0..3_u32), 0..8).prop_map(|mut holders| {
        holders.sort_unstable();
        holders.dedup();
        holders
    });
    let process = |index: u32, descriptors| FoundProcess {
        pid: 10 + index,
        comm: Some(Comm([b'a'; COMM_LEN])),
        descriptors,
        limit: Some(100),
    };
    (vec(vec(socket(), 0..40), 1..3), holders, 0..101_u64, gaps()).prop_map(
        move |(namespaces, holders, descriptors, gaps)| Census {
            namespaces: namespaces
                .into_iter()
                .zip(1..)
                .map(|(sockets, inode)| FoundNamespace {
                    inode,
                    sockets,
                    ports: Some(EphemeralPorts { low: 32_768, high: 32_770, reserved: vec![(32_770, 32_770)] }),
                    listen_overflows: Some(descriptors),
                    ..FoundNamespace::default()
                })
                .collect(),
            processes: (0..3).map(|index| process(index, descriptors)).collect(),
            holders,
            cgroups: [(1, b"/a".to_vec())].into(),
            gaps,
        },
    )
}

fn gaps() -> impl Strategy<Value = Gaps> {
    (vec(1..9_u32, 0..3), any::<bool>(), any::<bool>()).prop_map(|(refused, why, hidden)| Gaps {
        namespaces: Vec::new(),
        processes: refused.len() as u64,
        refused,
        why: why.then(|| "it takes a key".to_owned()),
        hidden: hidden.then(|| "they hide".to_owned()),
    })
}
