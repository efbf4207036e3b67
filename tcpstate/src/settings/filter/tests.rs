//! What is refused of filters, and what of them the kernel side is told.

use std::{ffi::OsString, net::Ipv6Addr, os::unix::ffi::OsStringExt};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use tcpstate_common::Address;

use super::*;
use crate::{
    cli::{AddressBlock, EndArgs},
    host::pids::Pids,
};

fn block(text: &str) -> Option<AddressBlock> {
    Some(text.parse::<IpNet>().ok()?.into())
}

fn filter(args: &FilterArgs) -> Result<Filter, String> {
    Filter::new(args, &Host { pids: Pids::Kernel, ..Host::detect() }).map_err(|error| error.to_string())
}

fn config(args: &FilterArgs) -> Config {
    filter(args).map_or_else(|error| panic!("refused: {error}"), |filter| filter.to_config(4_096))
}

#[test]
fn no_filter_is_no_filter() {
    assert_eq!(config(&FilterArgs::default()), Config { wakeup_bytes: 4_096, ..Config::NONE });
}

fn of_ends(ends: EndArgs) -> FilterArgs {
    FilterArgs { ends, ..FilterArgs::default() }
}

#[test]
fn every_filter_sets_its_bit_and_its_field() {
    let args = FilterArgs {
        pid: vec![std::process::id()],
        children: true,
        comm: vec!["nginx".into(), OsString::from_vec(b"\xff".to_vec())],
        cgroup: None,
        netns: Some("4026531999".into()),
        ends: EndArgs {
            lport: vec![443, 80, 443],
            rport: vec![65_535],
            laddr: block("10.0.0.0/8"),
            raddr: block("192.0.2.1/32"),
            ipv4: true,
            ipv6: false,
        },
    };
    let config = config(&args);
    assert_eq!(config.filters, 0b11_1111_0111);
    assert_eq!((config.cgroup_id, config.netns, config.family), (0, 4_026_531_999, 2));
    assert_eq!(config.comms_len, 2);
    assert_eq!(&config.comms[..2], [*b"nginx\0\0\0\0\0\0\0\0\0\0\0", *b"\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]);
    assert_eq!((config.local_ports.len, &config.local_ports.ports[..3]), (2, &[80, 443, 0][..]));
    assert_eq!((config.remote_ports.len, config.remote_ports.ports[0]), (1, 65_535));
    assert_eq!(config.local_net.network, "::ffff:10.0.0.0".parse::<Ipv6Addr>().expect("address").octets());
    assert_eq!(config.local_net.mask, [[255; 13].as_slice(), &[0; 3]].concat()[..]);
    assert_eq!(config.remote_net.mask, [255; 16]);
}

#[test]
fn the_cgroup_is_its_inode() {
    let filter = Filter { cgroup: NonZeroU64::new(7_531), ..Filter::default() };
    let config = filter.to_config(0);
    assert_eq!((config.filters, config.cgroup_id), (filter::CGROUP, 7_531));
}

#[test]
fn what_could_never_match_is_refused() {
    let comm = |name: &[u8]| FilterArgs { comm: vec![OsString::from_vec(name.to_vec())], ..FilterArgs::default() };
    assert!(filter(&comm(b"fifteen bytes..")).is_ok());
    for name in [&b""[..], b"sixteen bytes..."] {
        let error = filter(&comm(name)).expect_err("no thread has this name");
        assert!(error.starts_with("no thread can be called `") && error.contains("/proc/PID/comm"), "{error}");
    }
    let laddr = block("::/0");
    let error =
        filter(&of_ends(EndArgs { ipv4: true, laddr, ..EndArgs::default() })).expect_err("of different families");
    assert_eq!(error, "an IPv4 socket has no address in `::/0`: drop `-4`, or give an IPv4 block");
}

#[test]
fn room_is_for_distinct_values() {
    let ports =
        |distinct: u16| of_ends(EndArgs { lport: (1..=distinct).chain(1..=distinct).collect(), ..EndArgs::default() });
    assert_eq!(config(&ports(16)).local_ports.len, 16);
    assert_eq!(filter(&ports(17)), Err("17 values of `--lport` are too many: give at most 16".to_owned()));
    let comms = |n: u32| FilterArgs { comm: (0..n).map(|n| n.to_string().into()).collect(), ..FilterArgs::default() };
    assert_eq!(config(&comms(8)).comms_len, 8);
    assert_eq!(filter(&comms(9)), Err("9 values of `--comm` are too many: give at most 8".to_owned()));
}

#[test]
fn an_ipv6_block_leaves_ipv6_sockets() {
    for (laddr, raddr, family) in [
        (Some("::/0"), None, AF_INET6),
        (None, Some("::ffff:10.0.0.0/104"), AF_INET6),
        (Some("10.0.0.0/8"), Some("::1/128"), AF_INET6),
        (Some("10.0.0.0/8"), Some("0.0.0.0/0"), 0),
    ] {
        let net = |text: Option<&str>| text.and_then(block);
        let config = config(&of_ends(EndArgs { laddr: net(laddr), raddr: net(raddr), ..EndArgs::default() }));
        assert_eq!(config.family, family, "{laddr:?} {raddr:?}");
        assert_eq!(config.filters & filter::FAMILY != 0, family != 0);
    }
}

/// What the kernel side does with an address, v4-mapped where the socket is an IPv4 one.
fn matches(config: &Config, family: u16, address: Address) -> bool {
    let Network { network, mask } = config.local_net;
    let masked: Vec<u8> = address.iter().zip(mask).map(|(byte, mask)| byte & mask).collect();
    (config.filters & filter::FAMILY == 0 || config.family == family) && masked == network
}

/// A block, and an address that shares some of its leading bits.
fn block_and_address() -> impl Strategy<Value = (IpNet, IpAddr)> {
    let v4 = (any::<u32>(), 0..=32_u8, any::<u32>(), 0..=32_u32).prop_map(|(bits, prefix, noise, shared)| {
        let address = bits ^ noise.checked_shr(shared).unwrap_or(0);
        Ipv4Net::new(bits.into(), prefix).map(|net| (IpNet::V4(net), IpAddr::V4(address.into())))
    });
    let v6 = (any::<u128>(), 0..=128_u8, any::<u128>(), 0..=128_u32).prop_map(|(bits, prefix, noise, shared)| {
        let address = bits ^ noise.checked_shr(shared).unwrap_or(0);
        Ipv6Net::new(bits.into(), prefix).map(|net| (IpNet::V6(net), IpAddr::V6(address.into())))
    });
    (v4, v6, any::<[bool; 2]>()).prop_map(|(v4, v6, [net, address])| {
        let (v4, v6) = (v4.expect("prefix up to 32"), v6.expect("prefix up to 128"));
        (if net { v4.0 } else { v6.0 }, if address { v4.1 } else { v6.1 })
    })
}

proptest! {
    #[test]
    fn the_kernel_side_matches_what_ipnet_contains((net, address) in block_and_address()) {
        let net = net.trunc();
        let config = config(&of_ends(EndArgs { laddr: Some(net.into()), ..EndArgs::default() }));
        match address {
            IpAddr::V4(v4) => {
                let mapped = v4.to_ipv6_mapped();
                prop_assert_eq!(matches(&config, AF_INET, mapped.octets()), net.contains(&address));
                let of_ipv6_socket = net.contains(&address) || net.contains(&IpAddr::V6(mapped));
                prop_assert_eq!(matches(&config, AF_INET6, mapped.octets()), of_ipv6_socket);
            }
            IpAddr::V6(v6) => {
                let plain = v6.to_ipv4_mapped().is_some_and(|v4| net.contains(&IpAddr::V4(v4)));
                prop_assert_eq!(matches(&config, AF_INET6, v6.octets()), net.contains(&address) || plain);
            }
        }
    }
}
