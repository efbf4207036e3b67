//! Any transition at all.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use proptest::{collection::vec, option, prelude::*};
use tcpstate_common::COMM_LEN;
use tcpstate_core::model::{
    Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Transition,
};

/// Any bytes, but more often those that terminals obey.
fn comm() -> impl Strategy<Value = Comm> {
    let hostile =
        prop::sample::select(vec!["\x1b", "\\", "\u{9b}", "\u{202e}", "\u{2028}", "日", "e\u{301}", "\n", "x"]);
    let bytes = prop_oneof![
        any::<[u8; COMM_LEN]>().prop_map(|bytes| bytes.to_vec()),
        vec(hostile, 0..8).prop_map(|parts| parts.concat().into_bytes()),
        "[a-z]{1,15}".prop_map(String::into_bytes),
    ];
    bytes.prop_map(|bytes| {
        let mut comm = [0; COMM_LEN];
        // As the kernel does it: cut off, even in the middle of a character, and always terminated.
        comm.iter_mut().zip(bytes.iter().take(COMM_LEN - 1)).for_each(|(slot, &byte)| *slot = byte);
        Comm(comm)
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    let sources = vec![OwnerSource::Connect, OwnerSource::Accept, OwnerSource::Listen, OwnerSource::Snapshot];
    (any::<u32>(), any::<u32>(), comm(), prop::sample::select(sources)).prop_map(|(pid, tid, comm, source)| Owner {
        pid,
        tid,
        comm,
        source,
        start: None,
    })
}

fn addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv4Addr>().prop_map(|addr| IpAddr::V6(addr.to_ipv6_mapped())),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
        any::<[u16; 2]>().prop_map(|[head, tail]| IpAddr::V6(Ipv6Addr::new(head, 0, 0, 0, 0, 0, 0, tail))),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (addr(), any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port })
}

fn dwell() -> impl Strategy<Value = Dwell> {
    let ns = || prop_oneof![any::<u64>(), 0..10_000_000_000_u64];
    prop_oneof![ns().prop_map(Dwell::Exact), ns().prop_map(Dwell::AtLeast), Just(Dwell::Unknown)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Mptcp), any::<u16>().prop_map(Protocol::Other)]
}

pub(crate) fn transition() -> impl Strategy<Value = Transition> {
    let id = || option::of(any::<NonZeroU64>());
    let socket = ((id(), any::<u64>()).prop_map(|(cookie, skaddr)| SocketId { cookie, skaddr }), id());
    let states = (any::<u8>(), any::<u8>()).prop_map(|(old, new)| (State::from(old % 16), State::from(new)));
    let family = prop::sample::select(&[Family::Inet, Family::Inet6][..]);
    let ends = (endpoint(), endpoint());
    let ids = (any::<u32>(), option::of(any::<NonZeroU64>()), any::<u32>());
    (any::<u64>(), socket, states, dwell(), option::of(owner()), family, protocol(), ends, ids).prop_map(
        |(at, (socket, id), (old, new), in_old, owner, family, protocol, (local, remote), (netns, cgroup, uid))| {
            Transition {
                at: MonotonicNs(at),
                socket,
                id,
                old,
                new,
                in_old,
                owner,
                family,
                protocol,
                local,
                remote,
                netns,
                cgroup,
                uid,
            }
        },
    )
}
