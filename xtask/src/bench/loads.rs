//! What tracers cost under load: runs with and without, in pairs.

use std::{thread, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::{
    bpf::{Held, RunTimes},
    children::{Load, Traced, cpu_seconds, memory},
    floor::Floor,
    load::Kind,
    programs::Programs,
    spread::Spread,
    tracer::Tracer,
};

/// A tracer may write what it has still buffered before its CPU time is read.
const DRAIN: Duration = Duration::from_millis(300);
/// The kernel takes down the namespace of the load before.
const PAUSE: Duration = Duration::from_millis(300);

/// A load, how long it is, and who is measured under it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) count: u64,
    pub(super) tracers: &'static [Tracer],
}

const ALL: &[Tracer] = &Tracer::ALL;
const SOME: &[Tracer] =
    &[Tracer::Leaks, Tracer::TraceJson, Tracer::Tcpstates, Tracer::Floor(Floor::Trace), Tracer::Floor(Floor::Leaks)];

/// Every load.
pub(super) const fn plans(quick: bool) -> [Plan; 3] {
    let [churn, accept, receive] = if quick { [8_000, 8_000, 400_000] } else { [60_000, 60_000, 4_000_000] };
    [
        Plan { kind: Kind::Churn, count: churn, tracers: ALL },
        Plan { kind: Kind::Accept, count: accept, tracers: SOME },
        Plan { kind: Kind::Receive, count: receive, tracers: SOME },
    ]
}

/// One pair of runs, and one more whose BPF programs are timed.
#[derive(Clone, Copy, Debug, Serialize)]
struct Reading {
    untraced_per_second: f64,
    traced_per_second: f64,
    /// Of the tracer, kernel and user, an event.
    cpu_ns: f64,
    /// Of all its BPF programs, an event.
    in_kernel_ns: f64,
    lost: u64,
    peak_rss_bytes: f64,
    stop_ms: f64,
}

/// What one tracer costs under one load. An event is a transition, or where there is none an operation of the load.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) load: Kind,
    pub(super) tracer: Tracer,
    /// Why it could not be measured.
    pub(super) refused: Option<String>,
    /// Throughput, where that of the untraced run beside it is 1.
    pub(super) throughput: Option<Spread>,
    pub(super) untraced_per_second: Option<Spread>,
    pub(super) in_kernel_ns: Option<Spread>,
    pub(super) cpu_ns: Option<Spread>,
    pub(super) lost: Option<Spread>,
    pub(super) peak_rss_mib: Option<Spread>,
    pub(super) stop_ms: Option<Spread>,
    readings: Vec<Reading>,
}

/// Measures every tracer of a plan, in `pairs` rounds: round by round, so that whatever else the machine does falls on all.
///
/// # Errors
///
/// The load cannot run, or the kernel does not take times. A tracer that does not run is no error.
pub(super) fn measure(plan: &Plan, pairs: u32, programs: &Programs, idle: u32) -> Result<Vec<Cost>> {
    let mut costs: Vec<(Tracer, Vec<Reading>, Option<String>)> =
        plan.tracers.iter().map(|&tracer| (tracer, Vec::new(), None)).collect();
    for pair in 0..pairs {
        for (tracer, readings, refused) in costs.iter_mut().filter(|(.., refused)| refused.is_none()) {
            eprintln!("    {:?}, pair {} of {pairs}: {}", plan.kind, pair + 1, tracer.name());
            match read(plan, *tracer, pair % 2 == 1, programs, idle)? {
                Ok(reading) => readings.push(reading),
                Err(reason) => {
                    eprintln!("    not measured: {reason:#}");
                    *refused = Some(format!("{reason:#}"));
                }
            }
        }
    }
    Ok(costs.into_iter().map(|(tracer, readings, refused)| Cost::new(plan.kind, tracer, readings, refused)).collect())
}

/// One reading; the inner error is the tracer's.
fn read(plan: &Plan, tracer: Tracer, traced_first: bool, programs: &Programs, idle: u32) -> Result<Result<Reading>> {
    let untraced = || -> Result<f64> {
        thread::sleep(PAUSE);
        let outcome = Load::prepare(plan.kind, plan.count)?.run()?;
        Ok(outcome.operations as f64 / outcome.seconds)
    };
    let before = if traced_first { None } else { Some(untraced()?) };
    let mut reading = match traced(plan, tracer, programs, idle) {
        Ok(reading) => reading,
        Err(reason) => return Ok(Err(reason)),
    };
    reading.untraced_per_second = before.map_or_else(untraced, Ok)?;
    Ok(in_kernel(plan, tracer, programs, idle)?.map(|in_kernel_ns| Reading { in_kernel_ns, ..reading }))
}

/// A run without timing of BPF programs, which costs, too.
fn traced(plan: &Plan, tracer: Tracer, programs: &Programs, idle: u32) -> Result<Reading> {
    let traced = Traced::start(tracer.command(programs, idle)?, tracer.speaks())?;
    thread::sleep(PAUSE);
    let mut load = Load::prepare(plan.kind, plan.count)?;
    let cpu = cpu_seconds(traced.pid())?;
    let outcome = load.run()?;
    thread::sleep(DRAIN);
    let cpu = cpu_seconds(traced.pid())? - cpu;
    let peak_rss_bytes = memory(traced.pid(), "VmHWM")?;
    drop(load);
    let ended = traced.stop()?;
    Ok(Reading {
        untraced_per_second: f64::NAN,
        traced_per_second: outcome.operations as f64 / outcome.seconds,
        cpu_ns: cpu * 1e9 / plan.events() as f64,
        in_kernel_ns: f64::NAN,
        lost: tracer.lost(plan.count * plan.kind.transitions(), ended.stdout, &ended.stderr)?,
        peak_rss_bytes,
        stop_ms: ended.took.as_secs_f64() * 1e3,
    })
}

/// A shorter run with timing.
fn in_kernel(plan: &Plan, tracer: Tracer, programs: &Programs, idle: u32) -> Result<Result<f64>> {
    let plan = Plan { count: plan.count / 2, ..*plan };
    let _times = RunTimes::take(programs)?;
    let traced = match Traced::start(tracer.command(programs, idle)?, tracer.speaks()) {
        Ok(traced) => traced,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut load = Load::prepare(plan.kind, plan.count)?;
    let before = Held::by(traced.pid()).run_ns;
    load.run()?;
    let after = Held::by(traced.pid()).run_ns;
    Ok(Ok(after.saturating_sub(before) as f64 / plan.events() as f64))
}

impl Plan {
    fn events(&self) -> u64 {
        self.count * self.kind.transitions().max(1)
    }
}

impl Cost {
    fn new(load: Kind, tracer: Tracer, readings: Vec<Reading>, refused: Option<String>) -> Self {
        let spread = |of: fn(&Reading) -> f64| Spread::of(readings.iter().map(of));
        Self {
            load,
            tracer,
            refused,
            throughput: spread(|reading| reading.traced_per_second / reading.untraced_per_second),
            untraced_per_second: spread(|reading| reading.untraced_per_second),
            in_kernel_ns: spread(|reading| reading.in_kernel_ns),
            cpu_ns: spread(|reading| reading.cpu_ns),
            lost: spread(|reading| reading.lost as f64),
            peak_rss_mib: spread(|reading| reading.peak_rss_bytes / f64::from(1 << 20)),
            stop_ms: spread(|reading| reading.stop_ms),
            readings,
        }
    }
}
