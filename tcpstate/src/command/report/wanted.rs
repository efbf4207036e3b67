//! Filters in user space: the same answers that the kernel side gives (`tcpstate-ebpf/src/filters`), asked of what
//! was recorded.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    os::unix::ffi::OsStrExt,
};

use tcpstate_common::{
    Address,
    config::{Config, Network, Ports, filter},
    state::{AF_INET, AF_INET6, TcpState},
};
use tcpstate_core::model::{
    Comm, Endpoint, Family, Owner, State, Transition,
    leak::{FoundHolder, FoundListener, FoundSocket, Snapshot, SocketFacts},
};
use tcpstate_recording::Names;

use crate::{report::escape::Escaped, settings::report::RecordedFilter};

/// Most generations that descent is followed through: a wrong chain of recorded parents has to end.
const GENERATIONS: usize = 64;

/// Names that are remembered for a message.
const MOST_KNOWN: usize = 1000;

/// Which sockets and transitions are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    config: Config,
    pids: HashSet<u32>,
    parents: HashMap<u32, u32>,
    cgroup: Option<NamedNumbers<u64>>,
    netns: Option<NamedNumbers<u32>>,
}

/// What is wanted of one snapshot.
pub(super) struct WantedOfSnapshot<'a> {
    wanted: &'a Wanted,
    /// Processes that are wanted.
    holders: HashSet<u32>,
    /// Where wanted listeners listen: network namespace, port, and the address where it is one only.
    listening: HashSet<(u32, u16, Option<IpAddr>)>,
}

impl WantedOfSnapshot<'_> {
    /// Whether a socket that the snapshot found is wanted: also one that a wanted process holds, or may accept from one of the
    /// snapshot's listeners.
    pub(super) fn wants(&self, found: &FoundSocket) -> bool {
        let wanted = self.wanted;
        let holds = |pid: u32| {
            // Of a process without a name its number tells.
            let unnamed =
                || !wanted.filtering(filter::COMM) && (!wanted.filtering(filter::PID) || wanted.followed(pid));
            self.holders.contains(&pid) || unnamed()
        };
        let held = || found.holders.iter().any(|holder| holds(holder.pid));
        let SocketFacts { netns, local, .. } = found.facts;
        let takes = |addr| self.listening.contains(&(netns, local.port, addr));
        let waits = || found.unaccepted && (takes(None) || takes(Some(local.addr.to_canonical())));
        (wanted.owner(found.owner.as_ref()) || held() || waits()) && wanted.socket(&found.facts)
    }
}

/// Numbers that go by a name which the recording explains.
#[derive(Clone, Debug)]
struct NamedNumbers<T> {
    name: Vec<u8>,
    numbers: HashSet<T>,
    /// Names that the recording knows, for those who ask for another one; the first of them.
    known: BTreeSet<Vec<u8>>,
}

impl<T> NamedNumbers<T> {
    fn know(&mut self, name: &[u8]) {
        if self.known.len() < MOST_KNOWN {
            self.known.insert(name.to_vec());
        }
    }
}

impl Wanted {
    /// What the filters say, before the recording has explained any name.
    pub(super) fn new(filter: &RecordedFilter) -> Self {
        let RecordedFilter { config, pids, cgroup, netns } = filter;
        let named = |name: &[u8]| NamedNumbers { name: name.to_vec(), numbers: HashSet::new(), known: BTreeSet::new() };
        let netns = netns.as_ref().map(|name| {
            let named: NamedNumbers<u32> =
                NamedNumbers { name: name.as_bytes().to_vec(), numbers: HashSet::new(), known: BTreeSet::new() };
            let inode = name.to_str().and_then(|name| name.parse().ok());
            NamedNumbers { numbers: inode.into_iter().collect(), ..named }
        });
        Self {
            config: *config,
            pids: pids.iter().copied().collect(),
            parents: HashMap::new(),
            cgroup: cgroup.as_ref().map(|path| named(below_mount(path.as_os_str().as_bytes()))),
            netns,
        }
    }

    /// Learns what the recording says of names.
    pub(super) fn learn(&mut self, names: &Names) {
        self.parents.extend(names.parents.iter().copied());
        if let Some(cgroup) = &mut self.cgroup {
            for (id, path) in &names.cgroups {
                cgroup.know(path);
                if is_below(path, &cgroup.name) {
                    cgroup.numbers.insert(*id);
                }
            }
        }
        if let Some(netns) = &mut self.netns {
            for (inode, name) in &names.netns {
                netns.know(name);
                if *name == netns.name {
                    netns.numbers.insert(*inode);
                }
            }
        }
    }

    /// What the recording does not know of what was asked for, in words.
    pub(super) fn unresolved(&self) -> Option<String> {
        let missing = |what: &str, name: &[u8], known: &BTreeSet<Vec<u8>>| {
            let shown: Vec<_> = known.iter().take(10).map(|name| Escaped(name).to_string()).collect();
            let shown = shown.join(", ");
            let known = match known.len() {
                0 => "it names none".to_owned(),
                1..=10 => format!("it names {shown}"),
                MOST_KNOWN.. => format!("it names {shown} and many more"),
                more => format!("it names {shown} and {} more", more - 10),
            };
            format!("the recording has no {what} `{}`: {known}", Escaped(name))
        };
        let cgroup = self.cgroup.as_ref().filter(|named| named.numbers.is_empty());
        let netns = self.netns.as_ref().filter(|named| named.numbers.is_empty());
        cgroup
            .map(|named| missing("socket of the cgroup", &named.name, &named.known))
            .or_else(|| netns.map(|named| missing("network namespace", &named.name, &named.known)))
    }

    /// Whether a transition is wanted.
    pub(super) fn transition(&self, transition: &Transition) -> bool {
        self.states(transition.old, transition.new)
            && self.owner(transition.owner.as_ref())
            && self.socket(&SocketFacts::from(transition))
    }

    /// What is wanted of a snapshot, whose listeners are wanted ones.
    pub(super) fn of_snapshot(&self, snapshot: &Snapshot) -> WantedOfSnapshot<'_> {
        let is_wanted = |process: &&FoundHolder| {
            (!self.filtering(filter::PID) || self.followed(process.pid))
                && (!self.filtering(filter::COMM) || self.named(&process.comm))
        };
        let holders = snapshot.processes.iter().filter(is_wanted).map(|process| process.pid).collect();
        let listening = snapshot.listeners.iter().map(|listener| {
            let FoundListener { facts: SocketFacts { netns, local, .. }, .. } = listener;
            (*netns, local.port, (!local.addr.is_unspecified()).then(|| local.addr.to_canonical()))
        });
        WantedOfSnapshot { wanted: self, holders, listening: listening.collect() }
    }

    /// Whether a listener that a snapshot found is wanted.
    pub(super) fn listener(&self, found: &FoundListener) -> bool {
        let held = || self.filtering(filter::PID) && found.holders.iter().any(|&pid| self.followed(pid));
        (self.owner(found.owner.as_ref()) || held()) && self.socket(&found.facts)
    }

    /// Whether sockets of this owner are wanted.
    pub(super) fn owner(&self, owner: Option<&Owner>) -> bool {
        let pid = || owner.is_some_and(|owner| self.followed(owner.pid));
        let comm = || owner.map_or(self.named(&Comm([0; 16])), |owner| self.named(&owner.comm));
        (!self.filtering(filter::PID) || pid()) && (!self.filtering(filter::COMM) || comm())
    }

    /// Whether a process is one whose sockets are wanted, itself or as a descendant.
    pub(super) fn follows(&self, pid: u32) -> bool {
        self.followed(pid)
    }

    /// The cgroups whose sockets are wanted; `None` for any.
    pub(super) fn cgroups(&self) -> Option<BTreeSet<u64>> {
        self.cgroup.as_ref().map(|named| named.numbers.iter().copied().collect())
    }

    /// Whether sockets of this network namespace are wanted.
    pub(super) fn wants_netns(&self, inode: u32) -> bool {
        self.netns.as_ref().is_none_or(|named| named.numbers.contains(&inode))
    }

    /// The same of one that goes by its name, or by its number where it has none.
    pub(super) fn may_want_netns(&self, name: &str) -> bool {
        let by_number = || name.parse().is_ok_and(|inode| self.wants_netns(inode));
        self.netns.as_ref().is_none_or(|named| named.name == name.as_bytes()) || by_number()
    }

    fn filtering(&self, bits: u32) -> bool {
        self.config.filters & bits != 0
    }

    fn named(&self, comm: &Comm) -> bool {
        self.config.comms.iter().take(self.config.comms_len as usize).any(|wanted| wanted == &comm.0)
    }

    fn followed(&self, pid: u32) -> bool {
        if self.pids.contains(&pid) {
            return true;
        }
        if !self.filtering(filter::CHILDREN) {
            return false;
        }
        let ancestors = std::iter::successors(self.parents.get(&pid), |parent| self.parents.get(parent));
        ancestors.take(GENERATIONS).any(|ancestor| self.pids.contains(ancestor))
    }

    fn socket(&self, facts: &SocketFacts) -> bool {
        let family = match facts.family {
            Family::Inet => AF_INET,
            Family::Inet6 => AF_INET6,
        };
        let Config { local_ports, remote_ports, local_net, remote_net, .. } = &self.config;
        (!self.filtering(filter::FAMILY) || family == self.config.family)
            && self.netns.as_ref().is_none_or(|netns| netns.numbers.contains(&facts.netns))
            && (!self.filtering(filter::LOCAL_PORT) || port(facts.local, local_ports))
            && (!self.filtering(filter::REMOTE_PORT) || port(facts.remote, remote_ports))
            && (!self.filtering(filter::LOCAL_NET) || in_block(facts.local, local_net))
            && (!self.filtering(filter::REMOTE_NET) || in_block(facts.remote, remote_net))
            && self
                .cgroup
                .as_ref()
                .is_none_or(|cgroup| facts.cgroup.is_some_and(|id| cgroup.numbers.contains(&id.get())))
    }

    fn states(&self, old: State, new: State) -> bool {
        let bit = |state: State| match state {
            State::Known(state) => state.bit(),
            // The kernel side has no room for more, and the command line no names.
            State::Unknown(number) if usize::from(number) <= TcpState::ALL.len() => 1 << number,
            State::Unknown(_) => 0,
        };
        !self.filtering(filter::STATE) || (bit(old) | bit(new)) & self.config.states != 0
    }
}

/// A port that is not set is none that is wanted.
fn port(end: Endpoint, ports: &Ports) -> bool {
    end.port != 0 && ports.ports.iter().take(ports.len as usize).any(|&port| port == end.port)
}

fn in_block(end: Endpoint, net: &Network) -> bool {
    let address: Address = match end.addr {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    u128::from_ne_bytes(address) & u128::from_ne_bytes(net.mask) == u128::from_ne_bytes(net.network)
}

/// A path of a cgroup as the recording has them: from the mount of cgroup2, without a slash at the end.
fn below_mount(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/sys/fs/cgroup").unwrap_or(path);
    path.trim_ascii_end().strip_suffix(b"/").unwrap_or(path)
}

/// Whether a path is that of this cgroup or of one below it.
fn is_below(path: &[u8], cgroup: &[u8]) -> bool {
    let plain = |path: &[u8]| path.strip_prefix(b"/").unwrap_or(path).to_vec();
    let (path, cgroup) = (plain(path), plain(cgroup));
    cgroup.is_empty() || path.strip_prefix(cgroup.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cli::{EndArgs, FilterArgs},
        settings::filter::Filter,
    };

    #[test]
    fn cgroups_are_matched_by_whole_names() {
        for (path, cgroup, below) in [
            ("/system.slice/nginx.service", "system.slice", true),
            ("/system.slice/nginx.service", "/sys/fs/cgroup/system.slice/nginx.service/", true),
            ("/system.slice", "system.slice/nginx.service", false),
            ("/system.slicer", "system.slice", false),
            ("/user.slice", "/", true),
        ] {
            assert_eq!(is_below(path.as_bytes(), below_mount(cgroup.as_bytes())), below, "{path} in {cgroup}");
        }
    }

    #[test]
    fn descent_ends_even_in_a_circle() {
        let args = FilterArgs { pid: vec![7], children: true, ..FilterArgs::default() };
        let filter = Filter::elsewhere(&args).expect("valid");
        let (config, pids) = (filter.to_config(0), filter.pids().to_vec());
        let mut wanted = Wanted::new(&RecordedFilter { config, pids, cgroup: None, netns: None });
        let parents = vec![(9, 8), (8, 7), (20, 21), (21, 20)];
        wanted.learn(&Names { parents, ..Names::default() });
        assert_eq!([7, 8, 9, 20, 1].map(|pid| wanted.followed(pid)), [true, true, true, false, false]);
    }

    proptest! {
        /// An IPv4 block also matches v4-mapped addresses, an IPv6 block no IPv4 ones.
        #[test]
        fn blocks_hold_what_they_hold(v4 in any::<(u32, u32)>(), v6 in any::<(u128, u128)>(), prefix in 0..=128_u8) {
            let matches = |block: IpNet, addr: IpAddr| {
                let filter = Filter::elsewhere(&FilterArgs { ends: EndArgs { laddr: Some(block.into()), ..EndArgs::default() }, ..FilterArgs::default() });
                let config = filter.expect("valid").to_config(0);
                in_block(Endpoint { addr, port: 1 }, &config.local_net)
            };
            let near = |mask: u32| v4.0 ^ (v4.1 & mask);
            let block: IpNet = Ipv4Net::new(v4.0.into(), prefix.min(32)).expect("a prefix").into();
            for bits in [v4.0, v4.1, near(0xff), near(0xffff)] {
                let addr = std::net::Ipv4Addr::from_bits(bits);
                let inside = block.contains(&IpAddr::V4(addr));
                prop_assert_eq!(matches(block, addr.into()), inside);
                prop_assert_eq!(matches(block, addr.to_ipv6_mapped().into()), inside);
            }
            let block: IpNet = Ipv6Net::new(v6.0.into(), prefix).expect("a prefix").into();
            for bits in [v6.0, v6.1, v6.0 ^ (v6.1 & 0xffff)] {
                let addr = IpAddr::V6(bits.into());
                prop_assert_eq!(matches(block, addr), block.contains(&addr));
            }
        }
    }
}
