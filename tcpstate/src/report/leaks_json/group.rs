//! A group of sockets as JSON.

use std::num::NonZeroU64;

use serde::Serialize;
use tcpstate_core::{
    aggregate::leaks::{Backlog, Example, Group, Growth, Peer, Process, Range, Tallied, Teller},
    model::{Family, Protocol, stack::Sleepers},
};

use super::stack::{CountedStackBody, OpenedBody, StackBody, counted, name, opened, stack};
use crate::report::{
    escape::Escaped,
    evidence::{advice, evidence},
    json::{AgeBody, EndpointBody, ProcessBody, hexadecimal, protocol},
    leaks::LeakReport,
};

#[derive(Serialize)]
pub(in crate::report) struct GroupBody<'a> {
    verdict: &'static str,
    guess: bool,
    evidence: String,
    advice: &'static str,
    process: Option<ProcessBody>,
    sockets: u64,
    closed_late: u64,
    socket_ns: u64,
    age: AgesBody,
    growth: Option<GrowthBody>,
    recv_q: Option<RangeBody>,
    send_q: Option<RangeBody>,
    asleep_in_send: Option<u64>,
    opened: OpenedBody<'a>,
    told: Vec<ToldBody<'a>>,
    told_elsewhere: u64,
    shut_down: Vec<CountedStackBody<'a>>,
    asleep: Vec<AsleepBody<'a>>,
    awaited_by: Vec<HeldBody>,
    holders: Vec<HeldBody>,
    held_by_nobody: u64,
    peers: Vec<PeerBody>,
    other_peers: u64,
    backlogs: Vec<BacklogBody>,
    examples: Vec<ExampleBody>,
}

pub(in crate::report) fn group_body<'a>(report: &'a LeakReport, group: &'a Group) -> GroupBody<'a> {
    let Tallied { top: peers, others: other_peers } = &group.peers;
    GroupBody {
        verdict: group.verdict.name(),
        guess: group.verdict.is_guess(),
        evidence: evidence(report, group),
        advice: advice(group),
        process: group.process.map(ProcessBody::from),
        sockets: group.sockets,
        closed_late: group.closed_late,
        socket_ns: group.socket_ns,
        age: AgesBody {
            p50_ns: group.ages.p50_ns,
            p99_ns: group.ages.p99_ns,
            oldest: group.ages.oldest.into(),
            inexact: group.ages.inexact,
        },
        growth: group.growth.map(GrowthBody::from),
        recv_q: group.recv_q.map(RangeBody::from),
        send_q: group.send_q.map(RangeBody::from),
        asleep_in_send: group.asleep_in_send,
        opened: opened(report, group.origin, group.opener.or(group.process), group.thread),
        told: group.told.top.iter().map(|told| told_body(report, told)).collect(),
        told_elsewhere: group.told.others,
        shut_down: counted(report, &group.shut_down),
        asleep: report.sleepers(group).map(AsleepBody::from).collect(),
        awaited_by: group.awaited_by.iter().map(HeldBody::from).collect(),
        holders: group.held.by.iter().map(HeldBody::from).collect(),
        held_by_nobody: group.held.by_nobody,
        peers: peers.iter().map(PeerBody::from).collect(),
        other_peers: *other_peers,
        backlogs: group.backlogs.iter().map(BacklogBody::from).collect(),
        examples: group.examples.iter().map(ExampleBody::from).collect(),
    }
}

#[derive(Serialize)]
struct AgesBody {
    p50_ns: u64,
    p99_ns: u64,
    oldest: AgeBody,
    inexact: u64,
}

#[derive(Serialize)]
struct GrowthBody {
    per_minute: f64,
    window_ns: u64,
    flat: bool,
}

impl From<Growth> for GrowthBody {
    fn from(Growth { per_minute, window_ns, flat }: Growth) -> Self {
        Self { per_minute, window_ns, flat }
    }
}

#[derive(Serialize)]
struct RangeBody {
    min: u64,
    max: u64,
}

impl From<Range> for RangeBody {
    fn from(Range { min, max }: Range) -> Self {
        Self { min, max }
    }
}

#[derive(Serialize)]
struct ToldBody<'a> {
    sockets: u64,
    by: Option<ThreadBody>,
    stack: Option<StackBody<'a>>,
}

#[derive(Serialize)]
struct ThreadBody {
    pid: u32,
    tid: u32,
    comm: String,
}

fn told_body<'a>(report: &'a LeakReport, &(teller, sockets): &(Teller, u64)) -> ToldBody<'a> {
    let by = teller.by.map(|by| ThreadBody { pid: by.pid, tid: by.tid, comm: name(&by.comm) });
    ToldBody { sockets, by, stack: stack(report, teller.place) }
}

#[derive(Serialize)]
struct AsleepBody<'a> {
    threads: u64,
    pid: u32,
    tid: u32,
    comm: String,
    syscall: Option<String>,
    stack: StackBody<'a>,
}

impl<'a> From<&'a Sleepers> for AsleepBody<'a> {
    fn from(sleepers: &'a Sleepers) -> Self {
        Self {
            threads: sleepers.threads,
            pid: sleepers.pid,
            tid: sleepers.tid,
            comm: name(&sleepers.comm),
            syscall: sleepers.syscall.as_ref().map(|call| Escaped(call.as_bytes()).to_string()),
            stack: StackBody::from(sleepers.stack.as_ref()),
        }
    }
}

#[derive(Serialize)]
struct HeldBody {
    #[serde(flatten)]
    process: ProcessBody,
    sockets: u64,
}

impl From<&(Process, u64)> for HeldBody {
    fn from(&(process, sockets): &(Process, u64)) -> Self {
        Self { process: process.into(), sockets }
    }
}

#[derive(Serialize)]
struct PeerBody {
    addr: std::net::IpAddr,
    port: Option<u16>,
    sockets: u64,
}

impl From<&(Peer, u64)> for PeerBody {
    fn from(&(Peer { addr, port }, sockets): &(Peer, u64)) -> Self {
        Self { addr, port, sockets }
    }
}

#[derive(Serialize)]
struct BacklogBody {
    local: EndpointBody,
    process: Option<ProcessBody>,
    waiting: u32,
    limit: u32,
    dropped: u32,
}

impl From<&Backlog> for BacklogBody {
    fn from(backlog: &Backlog) -> Self {
        let Backlog { local, process, waiting, limit, dropped } = *backlog;
        Self { local: local.into(), process: process.map(ProcessBody::from), waiting, limit, dropped }
    }
}

#[derive(Serialize)]
struct ExampleBody {
    cookie: Option<NonZeroU64>,
    #[serde(serialize_with = "hexadecimal")]
    skaddr: u64,
    family: &'static str,
    #[serde(serialize_with = "protocol")]
    protocol: Protocol,
    local: EndpointBody,
    remote: EndpointBody,
    age: AgeBody,
    left_ago_ns: Option<u64>,
    recv_q: Option<u32>,
    send_q: Option<u32>,
    holders: Vec<HolderBody>,
}

#[derive(Serialize)]
struct HolderBody {
    pid: u32,
    fd: u32,
}

impl From<&Example> for ExampleBody {
    fn from(example: &Example) -> Self {
        Self {
            cookie: example.id.cookie,
            skaddr: example.id.skaddr,
            family: match example.family {
                Family::Inet => "inet",
                Family::Inet6 => "inet6",
            },
            protocol: example.protocol,
            local: example.local.into(),
            remote: example.remote.into(),
            age: example.age.into(),
            left_ago_ns: example.left_ago_ns,
            recv_q: example.recv_q,
            send_q: example.send_q,
            holders: example.holders.iter().map(|holder| HolderBody { pid: holder.pid, fd: holder.fd }).collect(),
        }
    }
}
