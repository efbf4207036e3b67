//! What a socket is, and who opened it.

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{Comm, Endpoint, Family, Owner, OwnerSource, Protocol, SocketId, leak::SocketFacts};

/// Name of a thread.
pub(super) type CommV1 = [u8; 16];

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SocketFactsV1 {
    id: SocketIdV1,
    family: FamilyV1,
    protocol: ProtocolV1,
    local: EndpointV1,
    remote: EndpointV1,
    netns: u32,
    cgroup: Option<NonZeroU64>,
    uid: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct SocketIdV1 {
    cookie: Option<NonZeroU64>,
    skaddr: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndpointV1 {
    addr: IpAddr,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum FamilyV1 {
    Inet,
    Inet6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum ProtocolV1 {
    Tcp,
    Mptcp,
    Other(u16),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnerV1 {
    pid: u32,
    tid: u32,
    comm: CommV1,
    source: OwnerSourceV1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum OwnerSourceV1 {
    Connect,
    Accept,
    Listen,
    Snapshot,
}

impl From<SocketFacts> for SocketFactsV1 {
    fn from(facts: SocketFacts) -> Self {
        let SocketFacts { id, family, protocol, local, remote, netns, cgroup, uid } = facts;
        Self {
            id: SocketIdV1 { cookie: id.cookie, skaddr: id.skaddr },
            family: family.into(),
            protocol: protocol.into(),
            local: local.into(),
            remote: remote.into(),
            netns,
            cgroup,
            uid,
        }
    }
}

impl From<SocketFactsV1> for SocketFacts {
    fn from(facts: SocketFactsV1) -> Self {
        let SocketFactsV1 { id, family, protocol, local, remote, netns, cgroup, uid } = facts;
        Self {
            id: SocketId { cookie: id.cookie, skaddr: id.skaddr },
            family: family.into(),
            protocol: protocol.into(),
            local: local.into(),
            remote: remote.into(),
            netns,
            cgroup,
            uid,
        }
    }
}

impl From<Endpoint> for EndpointV1 {
    fn from(Endpoint { addr, port }: Endpoint) -> Self {
        Self { addr, port }
    }
}

impl From<EndpointV1> for Endpoint {
    fn from(EndpointV1 { addr, port }: EndpointV1) -> Self {
        Self { addr, port }
    }
}

impl From<Family> for FamilyV1 {
    fn from(family: Family) -> Self {
        match family {
            Family::Inet => Self::Inet,
            Family::Inet6 => Self::Inet6,
        }
    }
}

impl From<FamilyV1> for Family {
    fn from(family: FamilyV1) -> Self {
        match family {
            FamilyV1::Inet => Self::Inet,
            FamilyV1::Inet6 => Self::Inet6,
        }
    }
}

impl From<Protocol> for ProtocolV1 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Mptcp => Self::Mptcp,
            Protocol::Other(number) => Self::Other(number),
        }
    }
}

impl From<ProtocolV1> for Protocol {
    fn from(protocol: ProtocolV1) -> Self {
        match protocol {
            ProtocolV1::Tcp => Self::Tcp,
            ProtocolV1::Mptcp => Self::Mptcp,
            ProtocolV1::Other(number) => Self::Other(number),
        }
    }
}

impl From<Owner> for OwnerV1 {
    fn from(Owner { pid, tid, comm, source, start: _ }: Owner) -> Self {
        Self { pid, tid, comm: comm.0, source: source.into() }
    }
}

impl From<OwnerV1> for Owner {
    fn from(OwnerV1 { pid, tid, comm, source }: OwnerV1) -> Self {
        Self { pid, tid, comm: Comm(comm), source: source.into(), start: None }
    }
}

impl From<OwnerSource> for OwnerSourceV1 {
    fn from(source: OwnerSource) -> Self {
        match source {
            OwnerSource::Connect => Self::Connect,
            OwnerSource::Accept => Self::Accept,
            OwnerSource::Listen => Self::Listen,
            OwnerSource::Snapshot => Self::Snapshot,
        }
    }
}

impl From<OwnerSourceV1> for OwnerSource {
    fn from(source: OwnerSourceV1) -> Self {
        match source {
            OwnerSourceV1::Connect => Self::Connect,
            OwnerSourceV1::Accept => Self::Accept,
            OwnerSourceV1::Listen => Self::Listen,
            OwnerSourceV1::Snapshot => Self::Snapshot,
        }
    }
}
