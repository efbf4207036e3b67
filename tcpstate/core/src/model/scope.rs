//! Link-local addresses of IPv6 with the link that they are of: the same address may be there on each.
//!
//! The number of the interface stands within the address, in bytes 4 to 7, which are zeros in every link-local address
//! (RFC 4291, 2.5.6): so what compares, counts or keeps addresses tells links apart by itself. The kernel side and `sock_diag`
//! put it there; what shows addresses takes it out.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use ipnet::IpNet;

/// How a link-local address begins, before the number.
const PREFIX: [u8; 4] = [0xfe, 0x80, 0, 0];

/// The address itself, and the interface if it is a link-local one and that is known.
#[must_use]
pub fn split(addr: IpAddr) -> (IpAddr, Option<NonZeroU32>) {
    let IpAddr::V6(v6) = addr else { return (addr, None) };
    let mut octets = v6.octets();
    if octets[..4] != PREFIX {
        return (addr, None);
    }
    let [_, _, _, _, a, b, c, d, ..] = octets;
    octets[4..8].fill(0);
    (Ipv6Addr::from(octets).into(), NonZeroU32::new(u32::from_be_bytes([a, b, c, d])))
}

/// The same address on a link; unchanged where it is not a link-local one.
#[must_use]
pub fn on_link(addr: IpAddr, interface: u32) -> IpAddr {
    match addr {
        IpAddr::V6(v6) if v6.octets()[..8] == [0xfe, 0x80, 0, 0, 0, 0, 0, 0] => {
            let mut octets = v6.octets();
            octets[4..8].copy_from_slice(&interface.to_be_bytes());
            Ipv6Addr::from(octets).into()
        }
        _ => addr,
    }
}

/// Whether an address is in a block; a block that names no link has those of all.
#[must_use]
pub fn contains(block: IpNet, addr: IpAddr) -> bool {
    block.contains(&addr) || split(block.addr()).1.is_none() && block.contains(&split(addr).0)
}

/// An address as people write it: `fe80::1%3`.
#[derive(Clone, Copy, Debug)]
pub struct ScopedAddr(pub IpAddr);

impl fmt::Display for ScopedAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match split(self.0) {
            (addr, None) => addr.fmt(f),
            (addr, Some(interface)) => write!(f, "{addr}%{interface}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_link_local_address_keeps_its_link() {
        let on_link = on_link(addr("fe80::1:2"), 0x0102_0304);
        assert_eq!(split(on_link), (addr("fe80::1:2"), NonZeroU32::new(0x0102_0304)));
        assert_eq!(ScopedAddr(on_link).to_string(), "fe80::1:2%16909060");
        assert_eq!(ScopedAddr(super::on_link(addr("fe80::1"), 3)).to_string(), "fe80::1%3");
        assert_ne!(super::on_link(addr("fe80::1"), 3), super::on_link(addr("fe80::1"), 4));
    }

    #[test]
    fn others_have_none() {
        for text in ["::", "::1", "2001:db8::1", "fe81::1", "10.0.0.1", "::ffff:10.0.0.1", "ff02::1", "fe80::1"] {
            assert_eq!(split(addr(text)), (addr(text), None));
            assert_eq!(ScopedAddr(addr(text)).to_string(), text);
            if text != "fe80::1" {
                assert_eq!(on_link(addr(text), 3), addr(text));
            }
        }
    }

    #[test]
    fn a_block_without_a_link_has_those_of_all() {
        let block = |text: &str| text.parse::<IpNet>().expect("a block");
        let one = on_link(addr("fe80::1"), 3);
        for text in ["fe80::/10", "fe80::/64", "fe80::1/128", "::/0"] {
            assert!(contains(block(text), one), "{text}");
        }
        assert!(!contains(block("fe80::2/128"), one) && !contains(block("2001:db8::/32"), one));
        let of = |interface| IpNet::from(on_link(addr("fe80::1"), interface));
        assert!(contains(of(3), one) && !contains(of(4), one) && !contains(of(3), addr("fe80::1")));
    }
}
