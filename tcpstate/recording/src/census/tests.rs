//! What is written is read, and nothing else does harm.

use proptest::{collection::vec, prelude::*, sample::Index};
use tcpstate_core::model;

use self::strategy::census;
use super::*;

#[path = "../../../core/src/aggregate/states/tests/strategy.rs"]
mod strategy;

fn read(payloads: &(Vec<Vec<u8>>, Vec<u8>)) -> Result<Census, FrameError> {
    let parts = payloads.0.iter().map(|bytes| part(bytes)).collect::<Result<Vec<_>, _>>()?;
    decode::<CensusRest>(&payloads.1)?.census(parts)
}

proptest! {
    #[test]
    fn what_is_written_is_read(mut census in census(), now in any::<u64>()) {
        let written = payloads(&mut census, MonotonicNs(now)).expect("memory");
        // Paths of cgroups are in other frames.
        census.cgroups.clear();
        prop_assert_eq!(read(&written), Ok(census));
    }

    /// No index is trusted, no column is as long as it has to be.
    #[test]
    fn changed_bytes_do_no_harm(mut census in census(), at in any::<Index>(), to in any::<u8>(), whole in any::<bool>(), cut in any::<bool>()) {
        let (mut parts, mut rest) = payloads(&mut census, MonotonicNs(1)).expect("memory");
        let bytes = if whole || parts.is_empty() { &mut rest } else { &mut parts[0] };
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(census) = read(&(parts, rest)) {
            let counts = tcpstate_core::aggregate::states::count(&census, &Default::default(), None, MonotonicNs(1));
            prop_assert_eq!(counts.sockets, census.namespaces.iter().map(|namespace| namespace.sockets.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn foreign_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = part(&bytes);
        if let Ok(rest) = decode::<CensusRest>(&bytes) {
            let _ = rest.census(Vec::new());
        }
    }
}

/// What a busy server costs: a socket is a few bytes.
#[test]
fn sockets_are_small() {
    let addr: IpAddr = "10.0.0.1".parse().expect("an address");
    let socket = |number: u32| ListedSocket {
        cookie: u64::from(number),
        family: Family::Inet,
        state: State::from(1),
        local: Endpoint { addr, port: 443 },
        remote: Endpoint { addr, port: u16::try_from(number.wrapping_mul(2_654_435_761) >> 16).unwrap_or(0) },
        inode: 5_000_000 + number,
        cgroup: NonZeroU64::new(5051),
        receive_queue: 0,
        send_queue: 0,
        age: None,
    };
    let namespace =
        FoundNamespace { inode: 1, sockets: (0..100_000).map(socket).collect(), ..FoundNamespace::default() };
    let mut census = Census {
        namespaces: vec![namespace],
        processes: vec![FoundProcess { pid: 1, comm: None, descriptors: 100_000, limit: None }],
        holders: (0..100_000).map(|number| (5_000_000 + number, 0)).collect(),
        ..Census::default()
    };
    let (parts, rest) = payloads(&mut census, MonotonicNs(1)).expect("memory");
    assert_eq!(parts.len(), 2);
    let bytes: usize = parts
        .iter()
        .chain([&rest])
        .map(|payload| zstd::bulk::compress(payload, 3).map_or(0, |bytes| bytes.len()))
        .sum();
    assert!(bytes < 400_000, "{bytes} bytes");
}
