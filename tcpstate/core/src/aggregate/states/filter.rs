//! Which sockets are counted.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::{
    aggregate::leaks::Process,
    model::{
        Comm, Family, State,
        census::{Census, ListedSocket},
        scope,
    },
};

/// Values of one kind are alternatives; different kinds must all match. An empty kind matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketFilter {
    /// Processes, one of which holds the socket.
    pub pids: Vec<u32>,
    /// Names of processes, one of which holds the socket.
    pub comms: Vec<Comm>,
    /// Ids of cgroups; `None` for any.
    pub cgroups: Option<BTreeSet<u64>>,
    /// States.
    pub states: Vec<State>,
    /// Local ports.
    pub local_ports: Vec<u16>,
    /// Remote ports.
    pub remote_ports: Vec<u16>,
    /// Block of the local address.
    pub local_net: Option<IpNet>,
    /// Block of the remote address.
    pub remote_net: Option<IpNet>,
    /// Address family.
    pub family: Option<Family>,
}

impl SocketFilter {
    /// Whether a socket is counted. `holders` are its entries in [`Census::holders`].
    #[must_use]
    pub(super) fn matches(&self, census: &Census, socket: &ListedSocket, holders: &[(u32, u32)]) -> bool {
        let any = |values: &[u16], value: u16| values.is_empty() || values.contains(&value);
        let processes = || holders.iter().map(|&(_, index)| &census.processes[index as usize]);
        self.family.is_none_or(|family| family == socket.family)
            && (self.states.is_empty() || self.states.contains(&socket.state))
            && any(&self.local_ports, socket.local.port)
            && any(&self.remote_ports, socket.remote.port)
            && self.local_net.is_none_or(|net| contains(net, socket.local.addr))
            && self.remote_net.is_none_or(|net| contains(net, socket.remote.addr))
            && self.cgroups.as_ref().is_none_or(|ids| socket.cgroup.is_some_and(|id| ids.contains(&id.get())))
            && (self.pids.is_empty() || processes().any(|process| self.pids.contains(&process.pid)))
            && (self.comms.is_empty()
                || processes().any(|process| process.comm.is_some_and(|comm| self.comms.contains(&comm))))
    }

    /// Whether a process is of interest whatever its sockets are.
    pub(super) fn wants_process(&self, process: Process) -> bool {
        (self.pids.is_empty() || self.pids.contains(&process.pid))
            && (self.comms.is_empty() || process.comm.is_some_and(|comm| self.comms.contains(&comm)))
    }
}

/// An IPv4 block also matches v4-mapped addresses, as in `ss`.
fn contains(net: IpNet, addr: IpAddr) -> bool {
    match net {
        IpNet::V4(_) => net.contains(&addr.to_canonical()),
        IpNet::V6(_) => scope::contains(net, addr),
    }
}
