//! The host, the settings and the hooks.

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    MonotonicNs,
    probes::{HookAttempt, Hooks, Probes, Refusal, Role, RoleProbe},
};

use super::many::Many;
use crate::content::Start;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartV1 {
    tcpstate: String,
    host: String,
    boot_id: String,
    at: u64,
    wall_offset_ns: i64,
    zone: Option<String>,
    zone_offset_s: i32,
    filters: Many<String>,
    late_ns: u64,
    stack_bytes: u32,
    file: u32,
    probes: ProbesV1,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProbesV1 {
    hooks: HooksV1,
    snapshot_sockets: u64,
    snapshot_netns: u32,
    buffer_bytes: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct HooksV1 {
    kernel: String,
    lockdown: Option<String>,
    roles: Many<RoleProbeV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoleProbeV1 {
    role: RoleV1,
    attempts: Many<HookAttemptV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HookAttemptV1 {
    hook: String,
    refused: Option<RefusalV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RefusalV1 {
    errno: Option<i32>,
    reason: String,
}

/// By its place in this list: others come at the end, and whoever does not know them cannot read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum RoleV1 {
    Transitions,
    Ends,
    Accept,
    EofReads,
    Descriptors,
    Sockets,
    Threads,
    Processes,
    SocketIds,
    Cgroups,
    Registers,
    UserStacks,
    WaitingAccepts,
    SpliceReads,
}

impl From<Start> for StartV1 {
    fn from(start: Start) -> Self {
        Self {
            tcpstate: start.tcpstate,
            host: start.host,
            boot_id: start.boot_id,
            at: start.at.0,
            wall_offset_ns: start.wall_offset_ns,
            zone: start.zone,
            zone_offset_s: start.zone_offset_s,
            filters: start.filters.into(),
            late_ns: start.late_ns,
            stack_bytes: start.stack_bytes,
            file: start.file,
            probes: start.probes.into(),
        }
    }
}

impl From<StartV1> for Start {
    fn from(start: StartV1) -> Self {
        Self {
            tcpstate: start.tcpstate,
            host: start.host,
            boot_id: start.boot_id,
            at: MonotonicNs(start.at),
            wall_offset_ns: start.wall_offset_ns,
            zone: start.zone,
            zone_offset_s: start.zone_offset_s,
            filters: start.filters.into(),
            late_ns: start.late_ns,
            stack_bytes: start.stack_bytes,
            file: start.file,
            probes: start.probes.into(),
        }
    }
}

impl From<Probes> for ProbesV1 {
    fn from(Probes { hooks, snapshot_sockets, snapshot_netns, buffer_bytes }: Probes) -> Self {
        Self { hooks: hooks.into(), snapshot_sockets, snapshot_netns, buffer_bytes }
    }
}

impl From<ProbesV1> for Probes {
    fn from(ProbesV1 { hooks, snapshot_sockets, snapshot_netns, buffer_bytes }: ProbesV1) -> Self {
        Self { hooks: hooks.into(), snapshot_sockets, snapshot_netns, buffer_bytes }
    }
}

impl From<Hooks> for HooksV1 {
    fn from(Hooks { kernel, lockdown, roles }: Hooks) -> Self {
        Self { kernel, lockdown, roles: roles.into_iter().map(Into::into).collect() }
    }
}

impl From<HooksV1> for Hooks {
    fn from(HooksV1 { kernel, lockdown, roles }: HooksV1) -> Self {
        Self { kernel, lockdown, roles: roles.into_iter().map(Into::into).collect() }
    }
}

impl From<RoleProbe> for RoleProbeV1 {
    fn from(RoleProbe { role, attempts }: RoleProbe) -> Self {
        Self { role: role.into(), attempts: attempts.into_iter().map(Into::into).collect() }
    }
}

impl From<RoleProbeV1> for RoleProbe {
    fn from(RoleProbeV1 { role, attempts }: RoleProbeV1) -> Self {
        Self { role: role.into(), attempts: attempts.into_iter().map(Into::into).collect() }
    }
}

impl From<HookAttempt> for HookAttemptV1 {
    fn from(HookAttempt { hook, refused }: HookAttempt) -> Self {
        Self { hook, refused: refused.map(|Refusal { errno, reason }| RefusalV1 { errno, reason }) }
    }
}

impl From<HookAttemptV1> for HookAttempt {
    fn from(HookAttemptV1 { hook, refused }: HookAttemptV1) -> Self {
        Self { hook, refused: refused.map(|RefusalV1 { errno, reason }| Refusal { errno, reason }) }
    }
}

impl From<Role> for RoleV1 {
    fn from(role: Role) -> Self {
        match role {
            Role::Transitions => Self::Transitions,
            Role::Ends => Self::Ends,
            Role::Accept => Self::Accept,
            Role::EofReads => Self::EofReads,
            Role::Descriptors => Self::Descriptors,
            Role::Sockets => Self::Sockets,
            Role::Threads => Self::Threads,
            Role::Processes => Self::Processes,
            Role::SocketIds => Self::SocketIds,
            Role::Cgroups => Self::Cgroups,
            Role::Registers => Self::Registers,
            Role::UserStacks => Self::UserStacks,
            Role::WaitingAccepts => Self::WaitingAccepts,
            Role::SpliceReads => Self::SpliceReads,
        }
    }
}

impl From<RoleV1> for Role {
    fn from(role: RoleV1) -> Self {
        match role {
            RoleV1::Transitions => Self::Transitions,
            RoleV1::Ends => Self::Ends,
            RoleV1::Accept => Self::Accept,
            RoleV1::EofReads => Self::EofReads,
            RoleV1::Descriptors => Self::Descriptors,
            RoleV1::Sockets => Self::Sockets,
            RoleV1::Threads => Self::Threads,
            RoleV1::Processes => Self::Processes,
            RoleV1::SocketIds => Self::SocketIds,
            RoleV1::Cgroups => Self::Cgroups,
            RoleV1::Registers => Self::Registers,
            RoleV1::UserStacks => Self::UserStacks,
            RoleV1::WaitingAccepts => Self::WaitingAccepts,
            RoleV1::SpliceReads => Self::SpliceReads,
        }
    }
}
