//! Time spent in `CLOSE_WAIT`: the tracer's figures against the program's own clock.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    event::Transition,
    process::Actor,
    protocol::Held,
    run::trials,
    tracer::{Setup, Trace},
};

/// How long each group is held; its sockets are closed one after the other.
const HOLD_MS: [u64; 4] = [50, 100, 200, 400];
const PER_GROUP: usize = 50;
/// How far the tracer may be from the program's clock.
const TOLERANCE_NS: u64 = 2_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["dwell"; two_hundred_closes]
}

/// A tracer for each group, so that each summary has one group's histogram.
fn two_hundred_closes() -> Result<()> {
    let program = Actor::start("ts-holder")?;
    let listeners = (0..HOLD_MS.len()).map(|_| program.listen((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>>>()?;
    let setups = listeners.iter().map(|listener| Setup::new(["--lport", &listener.local.port().to_string()]));
    let tracers = Setup::start_all(setups)?;
    let held = program.hold_close_wait(&listeners, &HOLD_MS, PER_GROUP)?;
    ensure!(held.len() == HOLD_MS.len() * PER_GROUP, "{} were held", held.len());
    for (group, tracer) in tracers.into_iter().enumerate() {
        let held: Vec<&Held> = held.iter().filter(|held| held.group == group).collect();
        tracer.wait_closed(&held.iter().map(|held| held.cookie).collect::<Vec<_>>())?;
        check_group(&tracer.finish()?, &held).with_context(|| format!("held {} ms", HOLD_MS[group]))?;
    }
    Ok(())
}

fn check_group(trace: &Trace, held: &[&Held]) -> Result<()> {
    let mut shown_ns = Vec::new();
    for held in held {
        shown_ns.push(check_socket(trace, held)?);
    }
    let mut own_ns: Vec<u64> = held.iter().map(|held| held.own_measure_ns()).collect();
    let (shown, own) = (median(&mut shown_ns), median(&mut own_ns));
    ensure!(shown.abs_diff(own) <= TOLERANCE_NS, "median: {shown} ns shown, {own} ns by the program");
    let row = trace.dwell("CLOSE_WAIT")?;
    ensure!(row.count == held.len() as u64 && row.at_least == 0, "{row:?}");
    let histogram = row.p50_ns.context("no median in the summary")?;
    ensure!(histogram.abs_diff(own) <= TOLERANCE_NS, "median: {histogram} ns in the summary, {own} ns by the program");
    let longest = shown_ns.last().copied().context("nothing was held")?;
    let (p90, p99, max) = (row.p90_ns, row.p99_ns, row.max_ns);
    ensure!(max.is_some_and(|max| max.abs_diff(longest) <= TOLERANCE_NS), "{row:?}, longest shown {longest} ns");
    ensure!(p90 >= row.p50_ns && p99 >= p90 && max >= p99, "{row:?}");
    Ok(())
}

/// Both ends of the stay lie within what the program bracketed them with, so no load can make this fail; what is left
/// between the brackets and the program's own figure is how long the scheduler kept it waiting.
fn check_socket(trace: &Trace, held: &Held) -> Result<u64> {
    let shown = trace.of(held.cookie);
    let find = |old, new| -> Result<&Transition> {
        let found = shown.iter().find(|transition| transition.is(old, new));
        found.copied().with_context(|| format!("no {old}→{new} of {:x}", held.cookie))
    };
    let (entered, left) = (find("ESTABLISHED", "CLOSE_WAIT")?, find("CLOSE_WAIT", "LAST_ACK")?);
    ensure!(held.fin.contains(entered.mono_ns), "entered outside of {:?}: {entered}", held.fin);
    ensure!(held.close.contains(left.mono_ns), "left outside of {:?}: {left}", held.close);
    let stayed = left.in_old_ns.with_context(|| format!("no time at {left}"))?;
    ensure!(stayed == left.mono_ns - entered.mono_ns, "{stayed} ns between {entered} and {left}");
    let uncertain = (held.fin.to_ns - held.fin.from_ns) + (held.close.to_ns - held.close.from_ns);
    let own = held.own_measure_ns();
    ensure!(stayed.abs_diff(own) <= TOLERANCE_NS.max(uncertain), "{stayed} ns shown, {own} ns by the program");
    Ok(stayed)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}
