//! A group of sockets as JSON.

use std::{borrow::Cow, num::NonZeroU64};

use serde::Serialize;
use tcpstate_core::{
    aggregate::leaks::{Backlog, Beyond, Example, Group, Growth, Peer, Process, Range, Tallied, Teller},
    model::{
        Family, Protocol,
        activity::{Activity, Busiest, WokenBy},
        stack::Sleepers,
    },
};

use super::stack::{CountedStackBody, OpenedBody, StackBody, counted, name, opened, stack};
use crate::report::{
    escape::Escaped,
    evidence::{advice, evidence},
    json::{AddrBody, AgeBody, EndpointBody, ProcessBody, hexadecimal, protocol},
    leaks::LeakReport,
};

#[derive(Serialize)]
pub(in crate::report) struct GroupBody<'a> {
    verdict: &'static str,
    guess: bool,
    verdict_inferred: u64,
    evidence: String,
    advice: Cow<'static, str>,
    process: Option<ProcessBody>,
    sockets: u64,
    closed_late: u64,
    socket_ns: u64,
    age: AgesBody,
    growth: Option<GrowthBody>,
    recv_q: Option<RangeBody>,
    send_q: Option<RangeBody>,
    nothing_sent: u64,
    last_words: u64,
    asleep_in_send: Option<u64>,
    opened: OpenedBody<'a>,
    told: Vec<ToldBody<'a>>,
    told_elsewhere: u64,
    shut_down: Vec<CountedStackBody<'a>>,
    asleep: Vec<AsleepBody<'a>>,
    threads: Vec<ThreadsBody>,
    awaited_by: Vec<HeldBody>,
    awaited_by_others: BeyondBody,
    holders: Vec<HeldBody>,
    other_holders: BeyondBody,
    held_by_nobody: u64,
    peers: Vec<PeerBody>,
    other_peers: u64,
    backlogs: Vec<BacklogBody>,
    other_backlogs: u64,
    examples: Vec<ExampleBody>,
}

pub(in crate::report) fn group_body<'a>(report: &'a LeakReport, group: &'a Group) -> GroupBody<'a> {
    let Tallied { top: peers, others: other_peers } = &group.peers;
    GroupBody {
        verdict: group.verdict.name(),
        guess: group.verdict.is_guess(),
        verdict_inferred: group.inferred.verdict,
        evidence: evidence(report, group),
        advice: advice(report, group),
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
        nothing_sent: group.nothing_sent,
        last_words: group.last_words,
        asleep_in_send: group.asleep_in_send,
        opened: opened(
            report,
            group.origin,
            group.opener.or(group.process),
            (group.thread, &group.threads),
            group.inferred.sockets,
        ),
        told: group.told.top.iter().map(|told| told_body(report, told)).collect(),
        told_elsewhere: group.told.others,
        shut_down: counted(report, &group.shut_down),
        asleep: report.sleepers(group).map(AsleepBody::from).collect(),
        threads: report.activities(group).map(ThreadsBody::from).collect(),
        awaited_by: group.awaited_by.iter().map(HeldBody::from).collect(),
        awaited_by_others: group.awaited_by_others.into(),
        holders: group.held.by.iter().map(HeldBody::from).collect(),
        other_holders: group.held.others.into(),
        held_by_nobody: group.held.by_nobody,
        peers: peers.iter().map(PeerBody::from).collect(),
        other_peers: *other_peers,
        backlogs: group.backlogs.iter().map(BacklogBody::from).collect(),
        other_backlogs: group.other_backlogs,
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
pub(super) struct GrowthBody {
    per_minute: f64,
    window_ns: u64,
    change: i64,
    flat: bool,
}

impl From<Growth> for GrowthBody {
    fn from(Growth { per_minute, window_ns, change, flat }: Growth) -> Self {
        Self { per_minute, window_ns, change, flat }
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
    through_event_loop: Option<&'static str>,
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
    let through_event_loop = teller.place.and_then(|place| report.event_loop(place)).map(|event_loop| event_loop.name);
    ToldBody { sockets, by, through_event_loop, stack: stack(report, teller.place) }
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
struct ThreadsBody {
    pid: u32,
    running: u64,
    stopped: u64,
    traced: u64,
    frozen: u64,
    busiest: Option<BusiestBody>,
    woken_by: Option<WokenByBody>,
}

#[derive(Serialize)]
struct BusiestBody {
    tid: u32,
    comm: String,
    cpu_permille: u32,
    window_ns: u64,
}

#[derive(Serialize)]
struct WokenByBody {
    epoll: u32,
    sockets: u64,
}

impl From<(u32, &Activity)> for ThreadsBody {
    fn from((pid, &activity): (u32, &Activity)) -> Self {
        let Activity { running, stopped, traced, frozen, busiest, woken_by } = activity;
        let busiest = busiest.map(|Busiest { tid, comm, permille, window_ns }| BusiestBody {
            tid,
            comm: name(&comm),
            cpu_permille: permille,
            window_ns,
        });
        let woken_by = woken_by.map(|WokenBy { epoll, sockets }| WokenByBody { epoll, sockets });
        Self { pid, running, stopped, traced, frozen, busiest, woken_by }
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

/// What is not listed.
#[derive(Serialize)]
struct BeyondBody {
    processes: u64,
    sockets: u64,
}

impl From<Beyond> for BeyondBody {
    fn from(Beyond { number, sockets }: Beyond) -> Self {
        Self { processes: number, sockets }
    }
}

#[derive(Serialize)]
struct PeerBody {
    #[serde(flatten)]
    addr: AddrBody,
    port: Option<u16>,
    sockets: u64,
}

impl From<&(Peer, u64)> for PeerBody {
    fn from(&(Peer { addr, port }, sockets): &(Peer, u64)) -> Self {
        Self { addr: addr.into(), port, sockets }
    }
}

#[derive(Serialize)]
struct BacklogBody {
    local: EndpointBody,
    process: Option<ProcessBody>,
    holders: Vec<ProcessBody>,
    other_holders: u64,
    waiting: u32,
    limit: u32,
    dropped: u32,
}

impl From<&Backlog> for BacklogBody {
    fn from(backlog: &Backlog) -> Self {
        let Backlog { local, process, ref holders, other_holders, waiting, limit, dropped } = *backlog;
        let holders = holders.iter().copied().map(ProcessBody::from).collect();
        let process = process.map(ProcessBody::from);
        Self { local: local.into(), process, holders, other_holders, waiting, limit, dropped }
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
    other_holders: u64,
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
            other_holders: example.other_holders,
        }
    }
}
