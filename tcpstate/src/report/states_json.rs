//! `tcpstate states -o json`: one object a report, as `schema/states-v1.schema.json` says.
//!
//! Names that others chose are escaped as in text output before they become JSON strings.

mod key;

use std::{io, net::IpAddr, num::NonZeroU32};

use serde::Serialize;
use tcpstate_core::{
    aggregate::states::{
        By, DestinationRow, GroupRow, ListenerRow, NamespaceRow, ProcessRow, SocketCounts, StateRow, is_near,
    },
    model::scope,
};

use self::key::KeyBody;
use super::{
    clock::WallClock,
    escape::{Escaped, Phrase},
    json::{AgeBody, EndpointBody, Line, ProcessBody},
};

/// Version of the schema, in every object. Fields may be added within a version; a field that changes its meaning or goes
/// away makes a new one.
pub const SCHEMA: u32 = 1;

/// Renders counts of sockets as JSON lines.
#[derive(Debug)]
pub struct StatesJson {
    clock: WallClock,
    top: usize,
    line: Vec<u8>,
}

impl StatesJson {
    /// A renderer with the wall time of the kernel's clock, and how many rows of each table to show at most.
    #[must_use]
    pub fn new(clock: WallClock, top: usize) -> Self {
        Self { clock, top, line: Vec::new() }
    }

    /// Writes a report.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn report(&mut self, out: &mut impl io::Write, counts: &SocketCounts) -> io::Result<()> {
        self.line.clear();
        let body = StatesBody::new(counts, self.top);
        serde_json::to_writer(&mut self.line, &Line::new(SCHEMA, "states", self.clock, counts.now, body))?;
        self.line.push(b'\n');
        out.write_all(&self.line)
    }
}

#[derive(Serialize)]
struct StatesBody {
    complete: bool,
    gaps: GapsBody,
    sockets: u64,
    change: Option<i64>,
    shared: u64,
    states: Vec<StateRowBody>,
    by: Option<&'static str>,
    groups: Vec<GroupRowBody>,
    groups_left_out: usize,
    listeners: Vec<ListenerRowBody>,
    listeners_left_out: usize,
    processes: Vec<ProcessRowBody>,
    processes_left_out: usize,
    destinations: Vec<DestinationRowBody>,
    destinations_left_out: usize,
    namespaces: Vec<NamespaceRowBody>,
}

impl StatesBody {
    fn new(counts: &SocketCounts, top: usize) -> Self {
        let gaps = &counts.gaps;
        let namespaces = gaps.namespaces.iter();
        let phrase = |text: &String| Phrase(text).to_string();
        Self {
            complete: gaps.is_empty(),
            gaps: GapsBody {
                namespaces: namespaces
                    .map(|(name, reason)| RefusedBody { name: phrase(name), reason: phrase(reason) })
                    .collect(),
                processes: gaps.processes,
                refused: gaps.refused.clone(),
                why: gaps.why.as_ref().map(phrase),
                hidden: gaps.hidden.as_ref().map(phrase),
            },
            sockets: counts.sockets,
            change: counts.change(),
            shared: counts.shared,
            states: counts.states.iter().map(StateRowBody::from).collect(),
            by: counts.by.map(by),
            groups: counts.groups.iter().take(top).map(GroupRowBody::from).collect(),
            groups_left_out: counts.groups.len().saturating_sub(top),
            listeners: counts.listeners.iter().take(top).map(ListenerRowBody::from).collect(),
            listeners_left_out: counts.listeners.len().saturating_sub(top),
            processes: counts.processes.iter().take(top).map(ProcessRowBody::from).collect(),
            processes_left_out: counts.processes.len().saturating_sub(top),
            destinations: counts.destinations.iter().take(top).map(DestinationRowBody::from).collect(),
            destinations_left_out: counts.destinations.len().saturating_sub(top),
            namespaces: counts.namespaces.iter().map(NamespaceRowBody::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct GapsBody {
    namespaces: Vec<RefusedBody>,
    processes: u64,
    refused: Vec<u32>,
    why: Option<String>,
    hidden: Option<String>,
}

#[derive(Serialize)]
struct RefusedBody {
    name: String,
    reason: String,
}

#[derive(Serialize)]
struct StateRowBody {
    state: String,
    sockets: u64,
    change: Option<i64>,
    aged: u64,
    oldest: Option<AgeBody>,
    median: Option<AgeBody>,
}

impl From<&StateRow> for StateRowBody {
    fn from(row: &StateRow) -> Self {
        Self {
            state: row.state.to_string(),
            sockets: row.sockets,
            change: row.change,
            aged: row.aged,
            oldest: row.oldest.map(AgeBody::from),
            median: row.median.map(AgeBody::from),
        }
    }
}

fn by(by: By) -> &'static str {
    match by {
        By::Process => "process",
        By::Netns => "netns",
        By::Cgroup => "cgroup",
        By::Lport => "lport",
        By::Remote => "remote",
    }
}

#[derive(Serialize)]
struct GroupRowBody {
    key: KeyBody,
    name: Option<String>,
    sockets: u64,
    change: Option<i64>,
    states: Vec<StateRowBody>,
}

impl From<&GroupRow> for GroupRowBody {
    fn from(row: &GroupRow) -> Self {
        Self {
            key: row.key.into(),
            name: row.name.as_deref().map(|name| Escaped(name).to_string()),
            sockets: row.sockets,
            change: row.change,
            states: row.states.iter().map(StateRowBody::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct ListenerRowBody {
    netns: u32,
    local: EndpointBody,
    process: Option<ProcessBody>,
    holders: u64,
    used: u64,
    limit: u64,
    near_limit: bool,
}

impl From<&ListenerRow> for ListenerRowBody {
    fn from(row: &ListenerRow) -> Self {
        Self {
            netns: row.netns,
            local: row.local.into(),
            process: row.process.map(ProcessBody::from),
            holders: row.holders,
            used: row.used,
            limit: row.limit,
            near_limit: is_near(row.used, row.limit),
        }
    }
}

#[derive(Serialize)]
struct ProcessRowBody {
    #[serde(flatten)]
    process: ProcessBody,
    descriptors: u64,
    limit: Option<u64>,
    near_limit: bool,
    sockets: u64,
}

impl From<&ProcessRow> for ProcessRowBody {
    fn from(row: &ProcessRow) -> Self {
        let ProcessRow { process, descriptors, limit, sockets } = *row;
        Self { process: process.into(), descriptors, limit, near_limit: row.is_near(), sockets }
    }
}

#[derive(Serialize)]
struct DestinationRowBody {
    netns: u32,
    local_addr: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_scope: Option<NonZeroU32>,
    remote: EndpointBody,
    ports_used: u64,
    time_wait: u64,
    ports: u64,
    near_limit: bool,
}

impl From<&DestinationRow> for DestinationRowBody {
    fn from(row: &DestinationRow) -> Self {
        Self {
            netns: row.netns,
            local_addr: scope::split(row.local).0,
            local_scope: scope::split(row.local).1,
            remote: row.remote.into(),
            ports_used: row.used,
            time_wait: row.time_wait,
            ports: row.limit,
            near_limit: is_near(row.used, row.limit),
        }
    }
}

#[derive(Serialize)]
struct NamespaceRowBody {
    netns: u32,
    own: bool,
    names: Vec<String>,
    sockets: u64,
    listen_overflows: Option<u64>,
    listen_overflows_change: Option<i64>,
    listen_drops: Option<u64>,
    listen_drops_change: Option<i64>,
}

impl From<&NamespaceRow> for NamespaceRowBody {
    fn from(row: &NamespaceRow) -> Self {
        Self {
            netns: row.inode,
            own: row.own,
            names: row.names.iter().map(|name| Escaped(name).to_string()).collect(),
            sockets: row.sockets,
            listen_overflows: row.listen_overflows,
            listen_overflows_change: row.overflows_change,
            listen_drops: row.listen_drops,
            listen_drops_change: row.drops_change,
        }
    }
}
