//! `tcpstate trace` on every scenario: what entered `CLOSE_WAIT` and stayed is what `ss` finds, under the right owner.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use super::{
    expected::{Expected, Verdict},
    running::{MeasuredStay, Scenario},
    truth,
};
use crate::support::{
    event::{Endpoint, Transition},
    ss::Listed,
    tracer::{Trace, Tracer},
};

/// How far the tracer may be from the program's own clock.
const TOLERANCE_NS: u64 = 2_000_000;

/// Attaches, leaks once, and compares.
pub(crate) fn compare(scenario: &Scenario) -> Result<()> {
    let expected = &scenario.expected;
    let mut running = (scenario.start)()?;
    let tracer = Tracer::start(running.scene.filters())?;
    running.leak()?;
    let listed = truth::settle(&mut running, expected)?;
    let (leaving, entering) = (expected.leaving(), expected.in_close_wait(1) + expected.leaving());
    tracer.wait_until(&format!("{entering} to enter CLOSE_WAIT and {leaving} to leave it"), |shown| {
        entries(shown).count() >= entering && exits(shown).count() >= leaving
    })?;
    let trace = tracer.finish()?;
    let stays = stays(&trace)?;
    ensure!(stays.len() == entering, "{} entered CLOSE_WAIT instead of {entering}", stays.len());
    let still_open = stays.values().filter(|stay| stay.left.is_none());
    let open: BTreeSet<u64> = still_open
        .map(|stay| stay.cookie(&listed).with_context(|| format!("`ss` does not list it: {}", stay.entered)))
        .collect::<Result<_>>()?;
    let close_wait = listed.iter().filter(|socket| socket.state == "CLOSE_WAIT");
    let listed_open: BTreeSet<u64> = close_wait.map(|socket| socket.cookie).collect();
    ensure!(open == listed_open, "in CLOSE_WAIT: {open:x?} by the trace, {listed_open:x?} by `ss`");
    for left in stays.values().filter_map(|stay| stay.left) {
        ensure!(left.new == expected.left_for(), "not for {}: {left}", expected.left_for());
    }
    check_owners(&stays, &listed, &running.scene.openers, expected)?;
    check_dwell(&stays, &running.scene.stays, expected)
}

/// A socket's time in `CLOSE_WAIT`.
struct Stay<'a> {
    entered: &'a Transition,
    left: Option<&'a Transition>,
}

impl Stay<'_> {
    /// Of a socket that `ss` lists, or that said it. Where tracing programs cannot have a cookie made, `ss` is the first to ask for
    /// it, and the ends tell which socket it is.
    fn cookie(&self, listed: &[Listed]) -> Option<u64> {
        let entered = self.entered;
        let ends = |socket: &&Listed| {
            Endpoint::from(socket.local) == entered.local && socket.remote.map(Endpoint::from) == Some(entered.remote)
        };
        entered.cookie.or_else(|| listed.iter().find(ends).map(|socket| socket.cookie))
    }
}

fn entries(shown: &[Transition]) -> impl Iterator<Item = &Transition> {
    shown.iter().filter(|transition| transition.new == "CLOSE_WAIT")
}

fn exits(shown: &[Transition]) -> impl Iterator<Item = &Transition> {
    shown.iter().filter(|transition| transition.old == "CLOSE_WAIT")
}

/// By the tracer's own number of each socket.
fn stays(trace: &Trace) -> Result<BTreeMap<u64, Stay<'_>>> {
    let mut stays = BTreeMap::new();
    for entered in entries(&trace.transitions) {
        let id = entered.id.with_context(|| format!("no id at {entered}"))?;
        ensure!(stays.insert(id, Stay { entered, left: None }).is_none(), "a second time: {entered}");
    }
    for left in exits(&trace.transitions) {
        let stay = left.id.and_then(|id| stays.get_mut(&id));
        stay.with_context(|| format!("it never entered: {left}"))?.left = Some(left);
    }
    Ok(stays)
}

/// The owner is the process that opened the socket, or whose listener has it in its backlog.
fn check_owners(
    stays: &BTreeMap<u64, Stay<'_>>,
    listed: &[Listed],
    openers: &[u32],
    expected: &Expected,
) -> Result<()> {
    let mut in_backlog_of: BTreeMap<u32, usize> = BTreeMap::new();
    for stay @ Stay { entered, left } in stays.values() {
        for transition in [Some(*entered), *left].into_iter().flatten() {
            let Some(owner) = &transition.owner else {
                ensure!(expected.ambiguous_listener, "nobody owns {transition}");
                continue;
            };
            ensure!(openers.contains(&owner.pid), "none of {openers:?} owns {transition}");
            let thread = expected.opened.and_then(|opened| opened.thread);
            let expected_comm = thread.filter(|_| owner.via == "accept").unwrap_or(&owner.comm);
            ensure!(owner.comm == expected_comm, "not of thread {expected_comm}: {transition}");
        }
        let Some(pid) = entered.owner_pid() else { continue };
        *in_backlog_of.entry(pid).or_default() += 1;
        let cookie = stay.cookie(listed);
        let holders = listed.iter().filter(|socket| Some(socket.cookie) == cookie).flat_map(|socket| &socket.holders);
        for holder in holders.filter(|holder| openers.contains(&holder.pid)) {
            ensure!(pid == holder.pid, "{} holds it: {entered}", holder.pid);
        }
    }
    if expected.may_be(Verdict::NeverAccepted) && !in_backlog_of.is_empty() {
        for listener in listed.iter().filter(|socket| socket.state == "LISTEN") {
            let [holder] = &listener.holders[..] else { anyhow::bail!("not one descriptor of {listener:?}") };
            let shown = in_backlog_of.get(&holder.pid).copied().unwrap_or_default();
            ensure!(shown == listener.recv_queue, "{shown} shown of {listener:?}");
        }
    }
    Ok(())
}

/// Beginning and end lie within what peer and program bracketed them with, so no load can make this fail; what is left between
/// the brackets and the program's own figure is how long the scheduler kept it waiting.
fn check_dwell(stays: &BTreeMap<u64, Stay<'_>>, measured: &[MeasuredStay], expected: &Expected) -> Result<()> {
    for &(asked_ms, count) in expected.held {
        let asked = measured.iter().filter(|measured| measured.asked_ms == asked_ms).count();
        ensure!(asked == count, "{asked} were held for {asked_ms} ms instead of {count}");
    }
    for measured @ MeasuredStay { peer_port, fin, close, .. } in measured {
        let stay = stays.values().find(|stay| stay.entered.remote.port == *peer_port);
        let Stay { entered, left } = stay.with_context(|| format!("{measured:?} was not shown"))?;
        let left = left.with_context(|| format!("{measured:?} was not shown to end"))?;
        ensure!(fin.contains(entered.mono_ns), "{measured:?} did not begin at {entered}");
        ensure!(close.contains(left.mono_ns), "{measured:?} did not end at {left}");
        let own_ns = close.from_ns - fin.to_ns;
        let shown_ns = left.in_old_ns.with_context(|| format!("no time: {left}"))?;
        let uncertain_ns = (fin.to_ns - fin.from_ns) + (close.to_ns - close.from_ns);
        let tolerance_ns = TOLERANCE_NS.max(uncertain_ns);
        ensure!(shown_ns.abs_diff(own_ns) <= tolerance_ns, "{measured:?}: {own_ns} ns by itself, but {left}");
    }
    Ok(())
}
