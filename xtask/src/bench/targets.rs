//! What `tcpstate` wants to be, and whether it is.

use super::{
    floor::Floor,
    load::Kind,
    report::Results,
    soak::{FLAT_MIB, Soak},
    tracer::Tracer,
};

/// One target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) measured: String,
    /// The same of empty programs at the same hooks: no tracer that is told of all this can be better. Empty where there are none.
    pub(super) limit: String,
    /// `None` where it was not measured.
    pub(super) met: Option<bool>,
}

/// Every target, judged by medians.
pub(super) fn judge(results: &Results) -> Vec<Target> {
    let (of_trace, of_leaks) = (Tracer::Floor(Floor::Trace), Tracer::Floor(Floor::Leaks));
    let throughput = |load, tracer| Some(results.cost(load, tracer)?.throughput?.median);
    // How many times the peer's cost is that of a tracer.
    let cheaper = |tracer| {
        let ns = |tracer| Some(results.cost(Kind::Churn, tracer)?.in_kernel_ns?.median);
        Some(ns(Tracer::Tcpstates)? / ns(tracer)?)
    };
    let lost = |tracer| Some(results.cost(Kind::Churn, tracer)?.lost?.greatest);
    let stop = |tracers: [Tracer; 2]| {
        let stops = tracers.into_iter().filter_map(|tracer| Some(results.cost(Kind::Churn, tracer)?.stop_ms?.median));
        stops.reduce(f64::max)
    };
    let first = |tracer| results.first_event.iter().find(|first| first.tracer == tracer)?.ms.map(|ms| ms.median);
    let idle = results.scale.iter().find(|scale| scale.sockets == 0);
    let many = results.scale.iter().find(|scale| scale.sockets == 100_000);
    let worse = |of: fn(&super::scale::Memory) -> Option<f64>| {
        many.and_then(|scale| Some(of(&scale.seen)?.max(of(&scale.found)?)))
    };

    let soaked = |of: fn(&Soak) -> Option<f64>| results.soak.as_ref().and_then(of);

    let shown = |value: Option<f64>, digits| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    let at_least = |what, value: Option<f64>, limit, least: f64| Target {
        what,
        measured: shown(value, 2),
        limit: shown(limit, 2),
        met: value.map(|value| value >= least),
    };
    let at_most = |what, value: Option<f64>, limit, most: f64| Target {
        what,
        measured: shown(value, 0),
        limit: shown(limit, 0),
        met: value.map(|value| value <= most),
    };
    let fast =
        |what, load, tracer, floor, least| at_least(what, throughput(load, tracer), throughput(load, floor), least);
    let cheap = |what, tracer, floor, least| at_least(what, cheaper(tracer), cheaper(floor), least);
    let json = Tracer::TraceJson;
    vec![
        fast("`leaks`: throughput ≥ 0.97", Kind::Churn, Tracer::Leaks, of_leaks, 0.97),
        cheap("`leaks`: `tcpstates` costs ≥ 30 times as much in the kernel", Tracer::Leaks, of_leaks, 30.0),
        fast("`trace -o json`: throughput ≥ 0.90", Kind::Churn, json, of_trace, 0.90),
        cheap("`trace -o json`: `tcpstates` costs ≥ 25 times as much in the kernel", json, of_trace, 25.0),
        at_most("`trace -o json`: 0 lost", lost(Tracer::TraceJson), None, 0.0),
        at_most("`trace -o text`: 0 lost", lost(Tracer::TraceText), None, 0.0),
        fast("`trace --pid` of an idle process: throughput ≥ 0.99", Kind::Churn, Tracer::TracePid, of_trace, 0.99),
        fast("`leaks`, receives: throughput ≥ 0.99", Kind::Receive, Tracer::Leaks, of_leaks, 0.99),
        fast("`trace -o json`, receives: throughput ≥ 0.99", Kind::Receive, json, of_trace, 0.99),
        at_most("`leaks`, idle: RSS ≤ 25 MiB", idle.map(|scale| scale.seen.rss_mib), None, 25.0),
        at_most("`leaks`, 100,000 sockets: RSS ≤ 60 MiB", worse(|memory| Some(memory.rss_mib)), None, 60.0),
        at_most(
            "`leaks`, 100,000 sockets: kernel memory ≤ 256 bytes each",
            worse(|memory| memory.kernel_bytes_each),
            None,
            256.0,
        ),
        at_most(
            "`leaks`, 100,000 sockets: report ≤ 50 ms",
            many.and_then(|scale| Some(scale.report_ms?.median)),
            None,
            50.0,
        ),
        at_most(
            "`leaks`, 100,000 sockets: snapshot ≤ 400 ms",
            many.and_then(|scale| Some(scale.snapshot_ms?.median.max(scale.first_snapshot_ms?.median))),
            None,
            400.0,
        ),
        at_most("`leaks`, ever new places: RSS ≤ 64 MiB", soaked(|soak| soak.leaks.most()), None, 64.0),
        at_most("`record`, ever new places: RSS ≤ 96 MiB", soaked(|soak| soak.record.most()), None, 96.0),
        at_most(
            "`leaks`, ever new places: flat after the first minutes, MiB",
            soaked(|soak| soak.leaks.growth()),
            None,
            FLAT_MIB,
        ),
        at_most(
            "`record`, ever new places: flat after the first minutes, MiB",
            soaked(|soak| soak.record.growth()),
            None,
            FLAT_MIB,
        ),
        at_most("`trace -o json`: first event ≤ 150 ms", first(Tracer::TraceJson), None, 150.0),
        at_most("stop ≤ 200 ms", stop([Tracer::Leaks, Tracer::TraceJson]), stop([of_leaks, of_trace]), 200.0),
    ]
}
