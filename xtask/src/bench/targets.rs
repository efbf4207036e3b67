//! What `tcpstate` wants to be, and whether it is.

use super::{load::Kind, report::Results, tracer::Tracer};

/// One target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) measured: String,
    /// `None` where it was not measured.
    pub(super) met: Option<bool>,
}

/// Every target, judged by medians.
pub(super) fn judge(results: &Results) -> Vec<Target> {
    let throughput = |load, tracer| Some(results.cost(load, tracer)?.throughput?.median);
    // How many times the peer's cost is ours.
    let cheaper = |tracer| {
        let ns = |tracer| Some(results.cost(Kind::Churn, tracer)?.in_kernel_ns?.median);
        Some(ns(Tracer::Tcpstates)? / ns(tracer)?)
    };
    let lost = |tracer| Some(results.cost(Kind::Churn, tracer)?.lost?.greatest);
    let stop = [Tracer::Leaks, Tracer::TraceJson]
        .into_iter()
        .filter_map(|tracer| Some(results.cost(Kind::Churn, tracer)?.stop_ms?.median))
        .reduce(f64::max);
    let first = |tracer| results.first_event.iter().find(|first| first.tracer == tracer)?.ms.map(|ms| ms.median);
    let idle = results.scale.iter().find(|scale| scale.sockets == 0);
    let many = results.scale.iter().find(|scale| scale.sockets == 100_000);
    let worse = |of: fn(&super::scale::Memory) -> Option<f64>| {
        many.and_then(|scale| Some(of(&scale.seen)?.max(of(&scale.found)?)))
    };

    let at_least = |what, value: Option<f64>, least: f64| Target {
        what,
        measured: value.map_or_else(String::new, |value| format!("{value:.2}")),
        met: value.map(|value| value >= least),
    };
    let at_most = |what, value: Option<f64>, most: f64| Target {
        what,
        measured: value.map_or_else(String::new, |value| format!("{value:.0}")),
        met: value.map(|value| value <= most),
    };
    vec![
        at_least("`leaks`: throughput ≥ 0.97", throughput(Kind::Churn, Tracer::Leaks), 0.97),
        at_least("`leaks`: `tcpstates` costs ≥ 30 times as much in the kernel", cheaper(Tracer::Leaks), 30.0),
        at_least("`trace -o json`: throughput ≥ 0.90", throughput(Kind::Churn, Tracer::TraceJson), 0.90),
        at_least(
            "`trace -o json`: `tcpstates` costs ≥ 25 times as much in the kernel",
            cheaper(Tracer::TraceJson),
            25.0,
        ),
        at_most("`trace -o json`: 0 lost", lost(Tracer::TraceJson), 0.0),
        at_most("`trace -o text`: 0 lost", lost(Tracer::TraceText), 0.0),
        at_least(
            "`trace --pid` of an idle process: throughput ≥ 0.99",
            throughput(Kind::Churn, Tracer::TracePid),
            0.99,
        ),
        at_least("`leaks`, receives: throughput ≥ 0.99", throughput(Kind::Receive, Tracer::Leaks), 0.99),
        at_least("`trace -o json`, receives: throughput ≥ 0.99", throughput(Kind::Receive, Tracer::TraceJson), 0.99),
        at_most("`leaks`, idle: RSS ≤ 25 MiB", idle.map(|scale| scale.seen.rss_mib), 25.0),
        at_most("`leaks`, 100,000 sockets: RSS ≤ 60 MiB", worse(|memory| Some(memory.rss_mib)), 60.0),
        at_most(
            "`leaks`, 100,000 sockets: kernel memory ≤ 256 bytes each",
            worse(|memory| memory.kernel_bytes_each),
            256.0,
        ),
        at_most("`leaks`, 100,000 sockets: report ≤ 50 ms", many.and_then(|scale| Some(scale.report_ms?.median)), 50.0),
        at_most(
            "`leaks`, 100,000 sockets: snapshot ≤ 400 ms",
            many.and_then(|scale| Some(scale.snapshot_ms?.median.max(scale.first_snapshot_ms?.median))),
            400.0,
        ),
        at_most("`trace -o json`: first event ≤ 150 ms", first(Tracer::TraceJson), 150.0),
        at_most("stop ≤ 200 ms", stop, 200.0),
    ]
}
