//! What is to be read of a network namespace, from a thread that is in it.

use std::{fs, io};

use anyhow::Result;
use tcpstate_core::model::census::{EphemeralPorts, ListedSocket};

use super::dump;

/// What was read.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) sockets: Vec<ListedSocket>,
    pub(super) listen_overflows: Option<u64>,
    pub(super) listen_drops: Option<u64>,
    pub(super) ports: Option<EphemeralPorts>,
}

/// Reads the calling thread's network namespace.
///
/// # Errors
///
/// When its sockets cannot be listed; what else is missing is `None`.
pub(super) fn read() -> Result<Inside> {
    let counters = fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default();
    Ok(Inside {
        sockets: dump::sockets()?,
        listen_overflows: counter(&counters, "TcpExt:", "ListenOverflows"),
        listen_drops: counter(&counters, "TcpExt:", "ListenDrops"),
        ports: ports().unwrap_or_default(),
    })
}

/// Sysctls of `net` are those of the network namespace of the thread that reads them.
fn ports() -> io::Result<Option<EphemeralPorts>> {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    Ok(parse_ports(&read("ip_local_port_range")?, &read("ip_local_reserved_ports").unwrap_or_default()))
}

/// Two numbers with white space between them, and `8080,9148-9160` or an empty line.
fn parse_ports(range: &str, reserved: &str) -> Option<EphemeralPorts> {
    let mut bounds = range.split_ascii_whitespace().map(str::parse);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let reserved = reserved.trim().split(',').filter(|part| !part.is_empty());
    let reserved = reserved.map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Some(EphemeralPorts { low, high, reserved: reserved.collect::<Option<_>>()? })
}

/// A counter of `/proc/net/netstat`: a line of names is followed by one of numbers.
fn counter(netstat: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix(protocol));
    let names = lines.next()?.split_ascii_whitespace();
    let numbers = lines.next()?.split_ascii_whitespace();
    names.zip(numbers).find(|&(found, _)| found == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let netstat =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(counter(netstat, "TcpExt:", "ListenOverflows"), Some(22));
        assert_eq!(counter(netstat, "TcpExt:", "ListenDrops"), Some(333));
        assert_eq!(counter(netstat, "IpExt:", "InNoRoutes"), Some(4));
        assert_eq!(counter(netstat, "TcpExt:", "InNoRoutes"), None);
        assert_eq!(counter("TcpExt: ListenDrops\n", "TcpExt:", "ListenDrops"), None);
        assert_eq!(counter("", "TcpExt:", "ListenDrops"), None);
    }

    #[test]
    fn reserved_ports_are_not_given() {
        let ports = parse_ports("32768\t32777\n", "8080,32770-32772,32777\n").expect("as the kernel writes it");
        assert_eq!(ports.reserved, [(8080, 8080), (32_770, 32_772), (32_777, 32_777)]);
        assert_eq!(ports.count(), 6);
        assert!(ports.contains(32_768) && ports.contains(32_773));
        assert!(!ports.contains(32_772) && !ports.contains(32_777) && !ports.contains(32_778) && !ports.contains(8080));
        assert_eq!(parse_ports("1024 1024\n", "\n").map(|ports| ports.count()), Some(1));
        assert_eq!(parse_ports("", ""), None);
        assert_eq!(parse_ports("1 2", "x"), None);
    }

    #[test]
    fn our_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let inside = read().expect("our own namespace");
        let found = inside.sockets.iter().filter(|socket| socket.local.port == port && socket.remote.port == 0);
        assert_eq!(found.count(), 1);
        assert!(inside.listen_overflows.is_some() && inside.listen_drops.is_some());
        assert!(inside.ports.is_some_and(|ports| ports.count() > 0));
    }
}
