//! What the sockets of a group have in common.

use std::{net::IpAddr, num::NonZeroU32};

use serde::Serialize;
use tcpstate_core::{aggregate::states::GroupKey, model::scope};

/// Its kind, and what belongs to that kind.
#[derive(Default, Serialize)]
pub(super) struct KeyBody {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl From<GroupKey> for KeyBody {
    fn from(key: GroupKey) -> Self {
        let what = |what| Self { what, ..Self::default() };
        match key {
            GroupKey::Process(pid) => Self { pid: Some(pid), ..what("process") },
            GroupKey::NoDescriptor => what("no_descriptor"),
            GroupKey::HolderUnknown => what("holder_unknown"),
            GroupKey::Netns(inode) => Self { netns: Some(inode), ..what("netns") },
            GroupKey::Cgroup(id) => Self { cgroup: Some(id), ..what("cgroup") },
            GroupKey::CgroupUnknown => what("cgroup_unknown"),
            GroupKey::Port(port) => Self { port: Some(port), ..what("port") },
            GroupKey::GivenPort => what("given_port"),
            GroupKey::Remote(peer) => {
                let (addr, scope) = scope::split(peer.addr);
                Self { addr: Some(addr), scope, port: peer.port, ..what("remote") }
            }
            GroupKey::NoRemote => what("no_remote"),
        }
    }
}
