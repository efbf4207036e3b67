//! Bytes of the ring buffer and of netlink → [`model`](crate::model).

pub mod diag;
pub mod finds;
pub mod leak;
#[cfg(test)]
mod seeds;

use std::{
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use bytemuck::AnyBitPattern;
use tcpstate_common::{
    Address,
    event::{self, FLAG_AT_LEAST, FLAG_NO_DWELL, KIND_TRANSITION, owner_source},
    state::{AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP},
};

use crate::model::{
    Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, ProcessStart, Protocol, SocketId, State, Transition,
};

/// A record that is not what this program writes into its ring buffer: a bug, never the user's fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Its length is not that of its kind.
    #[error(
        "record of {got} bytes where a transition has {expected}; the BPF object is of another version, rebuild it"
    )]
    Length {
        /// Bytes in the ring buffer.
        got: usize,
        /// Bytes of the record.
        expected: usize,
    },
    /// Its kind is unknown.
    #[error("record of unknown kind {0}; the BPF object is of another version, rebuild it")]
    Kind(u32),
    /// Neither IPv4 nor IPv6.
    #[error("record of a socket of address family {0}, which is neither `AF_INET` nor `AF_INET6`")]
    Family(u16),
}

/// Decodes one record.
///
/// # Errors
///
/// When the record is none that this program writes.
pub fn transition(record: &[u8]) -> Result<Transition, DecodeError> {
    let raw: event::TransitionRecord = read(record)?;
    if raw.kind != KIND_TRANSITION {
        return Err(DecodeError::Kind(raw.kind));
    }
    to_transition(&raw)
}

/// The transition of a record, whatever kind of record it is in.
fn to_transition(raw: &event::TransitionRecord) -> Result<Transition, DecodeError> {
    let family = family(raw.family)?;
    let owner = owner(&raw.owner, raw.owner_source);
    let old = State::from(raw.old_state);
    let in_old = if raw.flags & FLAG_NO_DWELL != 0 {
        Dwell::Unknown
    } else if raw.flags & FLAG_AT_LEAST != 0 {
        Dwell::AtLeast(raw.in_old_ns)
    } else {
        Dwell::Exact(raw.in_old_ns)
    };
    Ok(Transition {
        at: MonotonicNs(raw.ts_ns),
        socket: socket_id(raw.cookie, raw.skaddr),
        id: NonZeroU64::new(raw.id),
        old,
        new: State::from(raw.new_state),
        in_old: in_old.unless_meaningless(old, owner.as_ref()),
        owner,
        family,
        protocol: protocol(raw.protocol),
        local: endpoint(family, raw.local_addr, raw.local_port),
        remote: endpoint(family, raw.remote_addr, raw.remote_port),
        netns: raw.netns,
        cgroup: NonZeroU64::new(raw.cgroup_id),
        uid: raw.uid,
    })
}

fn read<T: AnyBitPattern>(record: &[u8]) -> Result<T, DecodeError> {
    bytemuck::try_pod_read_unaligned(record)
        .map_err(|_| DecodeError::Length { got: record.len(), expected: size_of::<T>() })
}

fn family(raw: u16) -> Result<Family, DecodeError> {
    match raw {
        AF_INET => Ok(Family::Inet),
        AF_INET6 => Ok(Family::Inet6),
        other => Err(DecodeError::Family(other)),
    }
}

fn protocol(raw: u16) -> Protocol {
    match raw {
        IPPROTO_TCP => Protocol::Tcp,
        IPPROTO_MPTCP => Protocol::Mptcp,
        other => Protocol::Other(other),
    }
}

fn socket_id(cookie: u64, skaddr: u64) -> SocketId {
    SocketId { cookie: NonZeroU64::new(cookie), skaddr }
}

/// A source that is unknown here is an unknown owner: what it would prove is not known.
fn owner(raw: &event::TaskRecord, source: u8) -> Option<Owner> {
    let source = match source {
        owner_source::CONNECT => OwnerSource::Connect,
        owner_source::ACCEPT => OwnerSource::Accept,
        owner_source::LISTEN => OwnerSource::Listen,
        owner_source::SNAPSHOT => OwnerSource::Snapshot,
        _ => return None,
    };
    let start = ProcessStart::from_ns(raw.start_ns);
    Some(Owner { pid: raw.tgid, tid: raw.tid, comm: Comm(raw.comm), source, start })
}

fn endpoint(family: Family, addr: Address, port: u16) -> Endpoint {
    let addr = match (family, addr) {
        (Family::Inet, [.., a, b, c, d]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        (Family::Inet6, addr) => IpAddr::V6(Ipv6Addr::from(addr)),
    };
    Endpoint { addr, port }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tcpstate_common::state::TcpState;

    use super::*;

    fn record() -> event::TransitionRecord {
        event::TransitionRecord {
            kind: KIND_TRANSITION,
            old_state: 1,
            new_state: 8,
            owner_source: owner_source::ACCEPT,
            flags: 0,
            ts_ns: 5_000_000_000,
            in_old_ns: 1_234,
            id: 8_193,
            cookie: 77,
            skaddr: 0xffff_8880_0000_1000,
            cgroup_id: 1,
            owner: event::TaskRecord {
                tgid: 4_242,
                tid: 4_243,
                comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
                start_ns: 7_000,
            },
            netns: 4_026_531_840,
            uid: 33,
            local_addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 6],
            remote_addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 7],
            local_port: 80,
            remote_port: 40_000,
            family: AF_INET,
            protocol: IPPROTO_TCP,
        }
    }

    fn decoded(record: &event::TransitionRecord) -> Transition {
        transition(bytemuck::bytes_of(record)).expect("a whole record")
    }

    #[test]
    fn every_field_arrives() {
        let seen = decoded(&record());
        assert_eq!(seen.at, MonotonicNs(5_000_000_000));
        assert_eq!(seen.socket.cookie.map(NonZeroU64::get), Some(77));
        assert_eq!(seen.id.map(NonZeroU64::get), Some(8_193));
        assert_eq!((seen.old, seen.new), (State::Known(TcpState::Established), State::Known(TcpState::CloseWait)));
        assert_eq!(seen.in_old, Dwell::Exact(1_234));
        let owner = seen.owner.expect("an owner");
        assert_eq!((owner.pid, owner.tid, owner.comm.bytes()), (4_242, 4_243, &b"nginx"[..]));
        assert_eq!(owner.start, ProcessStart::from_ns(7_000));
        assert_eq!(seen.local, Endpoint { addr: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), port: 80 });
        assert_eq!(seen.remote.addr, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7)));
        assert_eq!((seen.netns, seen.uid), (4_026_531_840, 33));
    }

    #[test]
    fn seeds_of_transitions() {
        seeds::assert_seed("transition-v4", bytemuck::bytes_of(&record()));
        seeds::assert_seed(
            "transition-v6",
            bytemuck::bytes_of(&event::TransitionRecord { family: AF_INET6, ..record() }),
        );
    }

    #[test]
    fn v4_mapped_stays_ipv6() {
        let seen = decoded(&event::TransitionRecord { family: AF_INET6, ..record() });
        assert_eq!(seen.local.addr.to_string(), "::ffff:127.0.0.6");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let unknown = decoded(&event::TransitionRecord {
            owner_source: 0,
            id: 0,
            cookie: 0,
            cgroup_id: 0,
            flags: FLAG_NO_DWELL,
            ..record()
        });
        assert_eq!((unknown.owner, unknown.id, unknown.socket.cookie, unknown.cgroup), (None, None, None, None));
        assert_eq!(unknown.in_old, Dwell::Unknown);
        assert_eq!(
            decoded(&event::TransitionRecord { flags: FLAG_AT_LEAST, ..record() }).in_old,
            Dwell::AtLeast(1_234)
        );
        assert_eq!(decoded(&event::TransitionRecord { owner_source: 99, ..record() }).owner, None);
        assert_eq!(decoded(&event::TransitionRecord { new_state: 42, ..record() }).new, State::Unknown(42));
    }

    #[test]
    fn a_part_of_a_record_is_an_error_at_every_split() {
        let record = record();
        let bytes = bytemuck::bytes_of(&record);
        for end in 0..bytes.len() {
            let expected = DecodeError::Length { got: end, expected: bytes.len() };
            assert_eq!(transition(&bytes[..end]), Err(expected));
        }
        assert_eq!(
            transition(bytemuck::bytes_of(&event::TransitionRecord { kind: 9, ..record })),
            Err(DecodeError::Kind(9))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = transition(&bytes);
        }
    }
}
