//! Which transitions are of interest, in the form the kernel side wants.

#[cfg(test)]
mod tests;

use std::{ffi::OsStr, net::IpAddr, num::NonZeroU64, os::unix::ffi::OsStrExt};

use ipnet::IpNet;
use tcpstate_common::{
    COMM_LEN,
    config::{Config, MAX_COMMS, MAX_PIDS, MAX_PORTS, Network, Ports, filter},
    state::{AF_INET, AF_INET6},
};
use tcpstate_core::model::{Family, scope};
use thiserror::Error;

use super::link::{LinkError, numbered};
use crate::{
    cli::FilterArgs,
    host::{Host, HostError},
};

/// Why a filter was refused.
#[derive(Debug, Error)]
pub enum FilterError {
    /// What it names does not exist here.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A thread cannot have this name.
    #[error(
        "no thread can be called `{}`: the kernel keeps 1 to {} bytes of a name; take it from `/proc/PID/comm`",
        .0.escape_ascii(), COMM_LEN - 1
    )]
    Comm(Vec<u8>),
    /// More values than the kernel side has room for.
    #[error("{given} values of `{option}` are too many: give at most {max}")]
    TooMany {
        /// The option.
        option: &'static str,
        /// How many distinct values were given.
        given: usize,
        /// How many are possible.
        max: usize,
    },
    /// The link of a block.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An IPv6 block with `-4`.
    #[error("an IPv4 socket has no address in `{0}`: drop `-4`, or give an IPv4 block")]
    Family(IpNet),
}

/// Validated filters. Values of one kind are alternatives; different kinds must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pids: Vec<u32>,
    children: bool,
    comms: Vec<[u8; COMM_LEN]>,
    cgroup: Option<NonZeroU64>,
    netns: Option<u32>,
    local_ports: Vec<u16>,
    remote_ports: Vec<u16>,
    local_net: Option<IpNet>,
    remote_net: Option<IpNet>,
    family: Option<Family>,
}

impl Filter {
    /// Checks what was asked for against this host.
    ///
    /// # Errors
    ///
    /// When a process, cgroup or network namespace does not exist, or a value could never match.
    pub fn new(args: &FilterArgs, host: &Host) -> Result<Self, FilterError> {
        // Interfaces have names in their own network namespace only.
        let filter = Self::of(args, Some(host).filter(|_| args.netns.is_none()))?;
        filter.pids.iter().try_for_each(|&pid| host.check_process(pid))?;
        Ok(Self {
            cgroup: args.cgroup.as_deref().map(|path| host.cgroup_id(path)).transpose()?,
            netns: args.netns.as_deref().map(|name| host.netns_inode(name)).transpose()?,
            ..filter
        })
    }

    /// Checks what was asked for about another host: whether a process exists is not asked, and cgroups and network namespaces
    /// are left out, since their numbers are not known here.
    ///
    /// # Errors
    ///
    /// When a value could never match.
    pub fn elsewhere(args: &FilterArgs) -> Result<Self, FilterError> {
        Self::of(args, None)
    }

    fn of(args: &FilterArgs, here: Option<&Host>) -> Result<Self, FilterError> {
        let pids = distinct("--pid", &args.pid, MAX_PIDS as usize)?;
        let comms = args.comm.iter().map(|name| comm(name)).collect::<Result<Vec<_>, _>>()?;
        let ends = &args.ends;
        let (local_net, remote_net) = (numbered(ends.laddr.as_ref(), here)?, numbered(ends.raddr.as_ref(), here)?);
        Ok(Self {
            pids,
            children: args.children,
            comms: distinct("--comm", &comms, MAX_COMMS)?,
            cgroup: None,
            netns: None,
            local_ports: distinct("--lport", &ends.lport, MAX_PORTS)?,
            remote_ports: distinct("--rport", &ends.rport, MAX_PORTS)?,
            local_net,
            remote_net,
            family: family_of_blocks(ends.family(), [local_net, remote_net])?,
        })
    }

    /// The sockets of a process and its descendants, without asking whether it exists.
    #[must_use]
    pub fn of_family(pid: u32) -> Self {
        Self { pids: vec![pid], children: true, ..Self::default() }
    }

    /// The processes whose sockets are wanted; empty means everybody's.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// The names of processes and threads that are wanted, padded with zeros; empty means any.
    #[must_use]
    pub fn comms(&self) -> &[[u8; COMM_LEN]] {
        &self.comms
    }

    /// The id of the cgroup that is wanted.
    #[must_use]
    pub fn cgroup(&self) -> Option<NonZeroU64> {
        self.cgroup
    }

    /// The inode of the network namespace that is wanted.
    #[must_use]
    pub fn netns(&self) -> Option<u32> {
        self.netns
    }

    /// Whether it is asked whose sockets they are.
    #[must_use]
    pub fn is_by_process(&self) -> bool {
        !self.pids.is_empty() || !self.comms.is_empty()
    }

    /// Whether the descendants of [`Filter::pids`] are wanted, too.
    #[must_use]
    pub fn children(&self) -> bool {
        self.children
    }

    /// What the BPF programs are loaded with. `wakeup_bytes` is [`Config::wakeup_bytes`].
    #[must_use]
    pub fn to_config(&self, wakeup_bytes: u32) -> Config {
        let mut config = Config { wakeup_bytes, ..Config::NONE };
        let mut set = |wanted: bool, bit: u32| config.filters |= if wanted { bit } else { 0 };
        set(!self.pids.is_empty(), filter::PID);
        set(self.children, filter::CHILDREN);
        set(!self.comms.is_empty(), filter::COMM);
        set(self.cgroup.is_some(), filter::CGROUP);
        set(self.netns.is_some(), filter::NETNS);
        set(!self.local_ports.is_empty(), filter::LOCAL_PORT);
        set(!self.remote_ports.is_empty(), filter::REMOTE_PORT);
        set(self.local_net.is_some(), filter::LOCAL_NET);
        set(self.remote_net.is_some(), filter::REMOTE_NET);
        set(self.family.is_some(), filter::FAMILY);

        for (slot, comm) in config.comms.iter_mut().zip(&self.comms) {
            *slot = *comm;
            config.comms_len += 1;
        }
        config.cgroup_id = self.cgroup.map_or(0, NonZeroU64::get);
        config.netns = self.netns.unwrap_or(0);
        config.family = self.family.map_or(0, |family| match family {
            Family::Inet => AF_INET,
            Family::Inet6 => AF_INET6,
        });
        config.local_ports = encode_ports(&self.local_ports);
        config.remote_ports = encode_ports(&self.remote_ports);
        config.local_net = self.local_net.map_or(Config::NONE.local_net, encode_network);
        config.remote_net = self.remote_net.map_or(Config::NONE.remote_net, encode_network);
        config
    }
}

/// The values sorted and without repetitions.
fn distinct<T: Clone + Ord>(option: &'static str, values: &[T], max: usize) -> Result<Vec<T>, FilterError> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    match values.len() {
        given if given > max => Err(FilterError::TooMany { option, given, max }),
        _ => Ok(values),
    }
}

pub(super) fn comm(name: &OsStr) -> Result<[u8; COMM_LEN], FilterError> {
    let bytes = name.as_bytes();
    let mut comm = [0; COMM_LEN];
    if bytes.is_empty() || bytes.len() >= COMM_LEN {
        return Err(FilterError::Comm(bytes.to_vec()));
    }
    comm[..bytes.len()].copy_from_slice(bytes);
    Ok(comm)
}

/// The family that the address blocks leave, as in `ss`: an IPv4 block also matches v4-mapped addresses, an IPv6 block
/// no IPv4 socket, not even `::/0`.
pub(super) fn family_of_blocks(
    asked: Option<Family>,
    blocks: [Option<IpNet>; 2],
) -> Result<Option<Family>, FilterError> {
    let ipv6 = blocks.into_iter().flatten().find(|block| matches!(block, IpNet::V6(_)));
    match (asked, ipv6) {
        (Some(Family::Inet), Some(block)) => Err(FilterError::Family(block)),
        (_, Some(_)) => Ok(Some(Family::Inet6)),
        (asked, None) => Ok(asked),
    }
}

fn encode_ports(ports: &[u16]) -> Ports {
    let mut encoded = Config::NONE.local_ports;
    for (slot, &port) in encoded.ports.iter_mut().zip(ports) {
        *slot = port;
        encoded.len += 1;
    }
    encoded
}

fn encode_network(net: IpNet) -> Network {
    let prefix = match net {
        IpNet::V4(_) => 96 + net.prefix_len(),
        IpNet::V6(_) => net.prefix_len(),
    };
    let mut mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0).to_be_bytes();
    let of_any_link = scope::on_link(net.addr(), 1) != net.addr();
    if of_any_link {
        mask[4..8].fill(0);
    }
    let network = match net.network() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Network { network: network.octets(), mask }
}
