//! Filters on what a socket is.

use tcpstate_common::{
    config::{MAX_PORTS, filter},
    state::TcpState,
};

use crate::{
    kernel::{
        read::Read,
        sock::{End, Identity, Sock},
    },
    rodata::{config, filtering},
};

const SOCKET_FILTERS: u32 = filter::CGROUP
    | filter::NETNS
    | filter::LOCAL_PORT
    | filter::REMOTE_PORT
    | filter::LOCAL_NET
    | filter::REMOTE_NET
    | filter::FAMILY;

/// What a filter answers about a port or an address that the socket does not have yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// It may still become one that is wanted: keep the socket's story.
    Passes,
    /// It is none that is wanted: don't show.
    Fails,
}

/// Whether the socket is one that the filters want.
#[inline(always)]
pub(crate) fn wants<R: Read>(sk: Sock<R>, socket: &Identity, unset: Unset) -> bool {
    if !filtering(SOCKET_FILTERS) {
        return true;
    }
    let passes = unset == Unset::Passes;
    let (local, remote) = (&socket.local, &socket.remote);
    (!filtering(filter::FAMILY) || socket.family == config!(family))
        && (!filtering(filter::NETNS) || socket.netns == config!(netns))
        && (!filtering(filter::LOCAL_PORT) || if local.port == 0 { passes } else { local_port(local.port) })
        && (!filtering(filter::REMOTE_PORT) || if remote.port == 0 { passes } else { remote_port(remote.port) })
        && (!filtering(filter::LOCAL_NET) || local_net(local) || passes && unspecified(local))
        && (!filtering(filter::REMOTE_NET) || remote_net(remote) || passes && unspecified(remote))
        && (!filtering(filter::CGROUP) || sk.is_in_cgroup(config!(cgroup_id)))
}

/// Whether they want a socket that has all its ends, or what it lacks passes. Not inlined: what tells it from others fills a frame.
#[inline(never)]
pub(crate) fn wants_now<R: Read>(sk: Sock<R>, unset: Unset) -> bool {
    !filtering(SOCKET_FILTERS) || wants(sk, &Identity::of(sk), unset)
}

/// Whether the old or the new state is one of `--state`.
#[inline(always)]
pub(crate) fn wants_states(old: u8, new: u8) -> bool {
    let bit = |state: u8| if usize::from(state) <= TcpState::ALL.len() { 1u32 << (state & 31) } else { 0 };
    !filtering(filter::STATE) || (bit(old) | bit(new)) & config!(states) != 0
}

#[inline(always)]
fn local_port(port: u16) -> bool {
    (0..MAX_PORTS).any(|i| (i as u32) < config!(local_ports.len) && port == config!(local_ports.ports[i]))
}

#[inline(always)]
fn remote_port(port: u16) -> bool {
    (0..MAX_PORTS).any(|i| (i as u32) < config!(remote_ports.len) && port == config!(remote_ports.ports[i]))
}

#[inline(always)]
fn local_net(end: &End) -> bool {
    in_block(end, config!(local_net.network), config!(local_net.mask))
}

#[inline(always)]
fn remote_net(end: &End) -> bool {
    in_block(end, config!(remote_net.network), config!(remote_net.mask))
}

#[inline(always)]
fn in_block(end: &End, network: [u8; 16], mask: [u8; 16]) -> bool {
    u128::from_ne_bytes(end.addr) & u128::from_ne_bytes(mask) == u128::from_ne_bytes(network)
}

/// `::` or `0.0.0.0`.
#[inline(always)]
fn unspecified(end: &End) -> bool {
    let addr = u128::from_be_bytes(end.addr);
    addr == 0 || addr == 0xffff_0000_0000
}
