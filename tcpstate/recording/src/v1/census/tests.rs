//! What is written is read, and nothing else does harm.

use proptest::{collection::vec, prelude::*, sample::Index};
use tcpstate_core::{aggregate::states, model};

use self::strategy::census;
use super::*;
use crate::{
    content::Content,
    frame::{FrameError, FrameKind},
    v1::{decode, encode},
};

#[path = "../../../../core/src/aggregate/states/tests/strategy.rs"]
mod strategy;

/// Payloads of the frames of a census.
fn payloads(census: Census, now: MonotonicNs) -> Vec<(FrameKind, Vec<u8>)> {
    let payload = |content: Content| (content.kind(), encode(content).expect("memory"));
    Content::of_census(census, now).map(payload).collect()
}

fn read(payloads: &[(FrameKind, Vec<u8>)]) -> Result<Census, FrameError> {
    let (mut parts, mut gaps) = (Vec::new(), None);
    for (kind, payload) in payloads {
        match decode(*kind, payload)? {
            Content::CensusPart(part) => parts.push(part),
            Content::CensusGaps(found) => gaps = Some(found),
            Content::Census(rest) => return rest.with(parts, gaps),
            other => panic!("{other:?}"),
        }
    }
    panic!("the rest comes last")
}

/// What is kept of sockets, in an order that does not depend on that in which they were found.
fn sorted(mut census: Census) -> Census {
    for namespace in &mut census.namespaces {
        namespace.sockets.iter_mut().for_each(|socket| socket.cookie = 0);
        namespace.sockets.sort_by_key(|socket| format!("{socket:?}"));
    }
    census
}

proptest! {
    #[test]
    fn what_is_written_is_read(census in census(), now in any::<u64>()) {
        let written = payloads(census.clone(), MonotonicNs(now));
        // Paths of cgroups are in other frames.
        let kept = Census { cgroups: std::collections::BTreeMap::new(), ..census };
        prop_assert_eq!(read(&written).map(sorted), Ok(sorted(kept)));
    }

    /// No index is trusted, no column is as long as it has to be.
    #[test]
    fn changed_bytes_do_no_harm(census in census(), at in any::<Index>(), to in any::<u8>(), whole in any::<bool>(), cut in any::<bool>()) {
        let mut payloads = payloads(census, MonotonicNs(1));
        let last = payloads.len() - 1;
        let (_, bytes) = &mut payloads[if whole { last } else { 0 }];
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(census) = read(&payloads) {
            let counts = states::count(&census, &states::SocketFilter::default(), None, MonotonicNs(1));
            prop_assert_eq!(counts.sockets, census.namespaces.iter().map(|namespace| namespace.sockets.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn foreign_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(FrameKind::CensusPart, &bytes);
        if let Ok(Content::Census(rest)) = decode(FrameKind::Census, &bytes) {
            let _ = rest.with(Vec::new(), None);
        }
    }
}

/// However many sockets there are, no frame is too long; and none is left out or told twice.
#[test]
fn many_sockets_are_several_parts() {
    let sockets = (0..120_000).map(listed).collect();
    let namespace = FoundNamespace { inode: 1, sockets, ..FoundNamespace::default() };
    let census = Census { namespaces: vec![namespace], ..Census::default() };
    let written = payloads(census.clone(), MonotonicNs(1));
    assert_eq!(written.len(), 4);
    let read = read(&written).expect("whole");
    let inodes = |census: &Census| census.namespaces[0].sockets.iter().map(|socket| socket.inode).collect::<Vec<_>>();
    assert_eq!(inodes(&read), inodes(&census));
}

fn listed(number: u32) -> ListedSocket {
    let addr: IpAddr = std::net::Ipv4Addr::new(10, 0, 0, 1).into();
    ListedSocket {
        cookie: u64::from(number),
        family: model::Family::Inet,
        state: State::from(1),
        local: Endpoint { addr, port: 443 },
        remote: Endpoint { addr, port: u16::try_from(number.wrapping_mul(2_654_435_761) >> 16).unwrap_or(0) },
        inode: 5_000_000 + number,
        cgroup: NonZeroU64::new(5051),
        receive_queue: 0,
        send_queue: 0,
        age: None,
    }
}

/// What a busy server costs: a socket is a few bytes.
#[test]
fn sockets_are_small() {
    let namespace =
        FoundNamespace { inode: 1, sockets: (0..100_000).map(listed).collect(), ..FoundNamespace::default() };
    let census = Census {
        namespaces: vec![namespace],
        processes: vec![FoundProcess { pid: 1, comm: None, descriptors: 100_000, limit: None }],
        holders: (0..100_000).map(|number| (5_000_000 + number, 0)).collect(),
        ..Census::default()
    };
    let payloads = payloads(census, MonotonicNs(1));
    assert_eq!(payloads.len(), 3);
    let compressed = |payload: &Vec<u8>| zstd::bulk::compress(payload, 3).map_or(0, |bytes| bytes.len());
    let bytes: usize = payloads.iter().map(|(_, payload)| compressed(payload)).sum();
    assert!(bytes < 400_000, "{bytes} bytes");
}
