//! What was closed late as JSON.

use serde::Serialize;
use tcpstate_core::aggregate::leaks::{ClosedLate, Process};

use super::stack::{CountedStackBody, OpenedBody, counted, opened};
use crate::report::{json::ProcessBody, leaks::LeakReport};

#[derive(Serialize)]
pub(super) struct ClosedBody<'a> {
    process: Option<ProcessBody>,
    sockets: u64,
    at_least: u64,
    unseen: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
    histogram: Vec<BucketBody>,
    opened: OpenedBody<'a>,
    told: Vec<CountedStackBody<'a>>,
    closed: Vec<CountedStackBody<'a>>,
}

#[derive(Serialize)]
struct BucketBody {
    up_to_ns: u64,
    sockets: u64,
}

pub(super) fn closed_body<'a>(report: &'a LeakReport, closed: &'a ClosedLate) -> ClosedBody<'a> {
    let opener = closed.origin.opener.map(|process| Process::new(process, closed.thread));
    ClosedBody {
        process: closed.process.map(ProcessBody::from),
        sockets: closed.sockets,
        at_least: closed.at_least,
        unseen: closed.unseen,
        p50_ns: closed.p50_ns,
        p99_ns: closed.p99_ns,
        max_ns: closed.max_ns,
        histogram: closed.histogram.iter().map(|&(up_to_ns, sockets)| BucketBody { up_to_ns, sockets }).collect(),
        opened: opened(
            report,
            closed.origin,
            opener.or(closed.process),
            (closed.thread, &closed.threads),
            closed.inferred,
        ),
        told: counted(report, &closed.told),
        closed: counted(report, &closed.closed),
    }
}
