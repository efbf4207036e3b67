use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, option, prelude::*};
use tcpstate_core::model::{
    Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, Transition,
    event::Event,
    leak::{Actor, LeakEvent, PlaceId},
};

use super::{decode, encode};
use crate::budget::Budget;

fn socket() -> impl Strategy<Value = SocketId> {
    (0..4_u64, any::<u64>(), 0..3_u64).prop_map(|(cookie, skaddr, few)| SocketId {
        cookie: std::num::NonZeroU64::new(cookie),
        skaddr: if few == 0 { skaddr } else { few },
    })
}

fn comm() -> impl Strategy<Value = Comm> {
    prop_oneof![any::<[u8; 16]>().prop_map(Comm), Just(Comm(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"))]
}

fn actor() -> impl Strategy<Value = Actor> {
    (any::<u32>(), any::<u32>(), comm()).prop_map(|(pid, tid, comm)| Actor { pid, tid, comm, start: None })
}

fn owner() -> impl Strategy<Value = Owner> {
    use OwnerSource::{Accept, Connect, Listen, Snapshot};
    (actor(), prop_oneof![Just(Connect), Just(Accept), Just(Listen), Just(Snapshot)])
        .prop_map(|(Actor { pid, tid, comm, start }, source)| Owner { pid, tid, comm, source, start })
}

fn place() -> impl Strategy<Value = Option<PlaceId>> {
    option::of(any::<u64>().prop_map(PlaceId))
}

fn ends() -> impl Strategy<Value = (Family, Endpoint, Endpoint)> {
    let end = |addr: IpAddr, port| Endpoint { addr, port };
    let v4 = any::<(u32, u16, u32, u16)>().prop_map(move |(local, lport, remote, rport)| {
        let addr = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        (Family::Inet, end(addr(local), lport), end(addr(remote), rport))
    });
    let v6 = any::<(u128, u16, u128, u16)>().prop_map(move |(local, lport, remote, rport)| {
        let addr = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
        (Family::Inet6, end(addr(local), lport), end(addr(remote), rport))
    });
    prop_oneof![v4, v6]
}

fn transition() -> impl Strategy<Value = Transition> {
    let dwell = prop_oneof![
        any::<u64>().prop_map(Dwell::Exact),
        (0..9_u64).prop_map(Dwell::Exact),
        any::<u64>().prop_map(Dwell::AtLeast),
        Just(Dwell::Unknown)
    ];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Mptcp), any::<u16>().prop_map(Protocol::Other)];
    let time = prop_oneof![any::<u64>(), 0..9_u64];
    let states = prop_oneof![(1..5_u8, 1..5_u8), any::<(u8, u8)>()];
    (time, socket(), states, dwell, option::of(owner()), ends(), protocol, any::<(u64, u32, u64, u32)>()).prop_map(
        |(at, socket, (old, new), in_old, owner, (family, local, remote), protocol, (id, netns, cgroup, uid))| {
            Transition {
                at: MonotonicNs(at),
                socket,
                id: std::num::NonZeroU64::new(id),
                old: old.into(),
                new: new.into(),
                in_old,
                owner,
                family,
                protocol,
                local,
                remote,
                netns,
                cgroup: std::num::NonZeroU64::new(cgroup),
                uid,
            }
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let at = || any::<u64>().prop_map(MonotonicNs);
    prop_oneof![
        4 => transition().prop_map(Event::Transition),
        1 => (transition(), place()).prop_map(|(transition, opened)| Event::Entered { transition, opened }),
        1 => (at(), socket(), owner(), place())
            .prop_map(|(at, socket, owner, opened)| Event::Beside(LeakEvent::Accepted { at, socket, owner, opened })),
        1 => (at(), socket(), actor(), place())
            .prop_map(|(at, socket, by, place)| Event::Beside(LeakEvent::EofRead { at, socket, by, place })),
        1 => (at(), socket(), any::<u8>(), option::of((actor(), place()))).prop_map(|(at, socket, new, closed)| {
            Event::Beside(LeakEvent::Left { at, socket, new: new.into(), closed })
        }),
        1 => (at(), socket()).prop_map(|(at, socket)| Event::Beside(LeakEvent::Destroyed { at, socket })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(events in vec(event(), 0..60)) {
        let bytes = encode(&events).expect("memory");
        prop_assert_eq!(decode(&bytes, &mut Budget::of_payload(bytes.len())), Ok(events));
    }

    /// No index is trusted, no column is as long as it has to be.
    #[test]
    fn changed_bytes_do_no_harm(
        events in vec(event(), 1..20), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()
    ) {
        let mut bytes = encode(&events).expect("memory");
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        let _ = decode(&bytes, &mut Budget::of_payload(bytes.len()));
    }
}
