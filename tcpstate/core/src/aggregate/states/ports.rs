//! Which ports that the kernel gave are in use towards which remote end.
//!
//! A port can be used once between the same local address, remote address and remote port, and TIME_WAIT counts as use
//! (`__inet_check_established()`, Linux 6.18).

use std::{collections::HashMap, net::IpAddr};

use tcpstate_common::state::TcpState;

use super::types::DestinationRow;
use crate::model::{Endpoint, State, census::ListedSocket};

/// Between what a port can be used once. A v4-mapped address is the IPv4 address: both families share the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    local: IpAddr,
    remote: Endpoint,
}

impl Destination {
    pub(super) fn of(socket: &ListedSocket) -> Self {
        let Endpoint { addr, port } = socket.remote;
        Self { local: socket.local.addr.to_canonical(), remote: Endpoint { addr: addr.to_canonical(), port } }
    }
}

/// Adds up the ports of one network namespace.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    /// Port, and whether it is in TIME_WAIT.
    used: HashMap<Destination, Vec<(u16, bool)>>,
}

impl Destinations {
    pub(super) fn add(&mut self, destination: Destination, socket: &ListedSocket) {
        let waits = socket.state == State::Known(TcpState::TimeWait);
        self.used.entry(destination).or_default().push((socket.local.port, waits));
    }

    /// `limit` is the number of ports to give.
    pub(super) fn rows(self, netns: u32, limit: u64) -> impl Iterator<Item = DestinationRow> {
        self.used.into_iter().map(move |(Destination { local, remote }, mut ports)| {
            // Of a port in TIME_WAIT that is in use again, the use counts: `false` comes first.
            ports.sort_unstable();
            ports.dedup_by_key(|&mut (port, _)| port);
            let time_wait = ports.iter().filter(|&&(_, waits)| waits).count() as u64;
            DestinationRow { netns, local, remote, used: ports.len() as u64, time_wait, limit }
        })
    }
}
