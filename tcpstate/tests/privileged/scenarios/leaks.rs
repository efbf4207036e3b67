//! `tcpstate leaks` on every scenario: who, how many, why, and where in the code.

pub(crate) mod hunt;
pub(crate) mod kernel;
pub(crate) mod report;
pub(crate) mod stacks;

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use self::{
    hunt::{Hunt, OLDER_THAN, once},
    report::{Age, Descriptor, Group, Holders, Losses, Report},
};
use super::{
    expected::{Expected, Verdict},
    running::{Scenario, Scene},
    truth,
};
use crate::support::{clock, kernel::is_confidential, protocol::Span, ss::Listed};

/// Between two clocks: the tracer measures the age when it reports, and the kernel keeps milliseconds.
const TOLERANCE_NS: u64 = 10_000_000;

/// How often a scenario is run at most until a tracer has seen all of it.
const ATTEMPTS: usize = 3;

/// Attaches, leaks once, and compares. On a busy machine a tracer may be preempted just before its program begins, so that none
/// takes what happens meanwhile; it says so, and then there is nothing to compare.
pub(crate) fn attached(scenario: &Scenario) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if saw_all(scenario)? {
            return Ok(());
        }
    }
    bail!("something was lost {ATTEMPTS} times in a row")
}

/// Whether nothing was lost, and then all was as expected.
fn saw_all(scenario: &Scenario) -> Result<bool> {
    let expected = &scenario.expected;
    let mut running = (scenario.start)()?;
    let hunt = Hunt::start(&running.scene.filters(), &[])?;
    running.leak()?;
    let listed = truth::settle(&mut running, expected)?;
    let settled_ns = clock::monotonic_ns() + u64::try_from(OLDER_THAN.as_nanos())?;
    let scene = &running.scene;
    let report = hunt.wait_until("a report of what was leaked", |report| {
        ensure!(report.mono_ns > settled_ns, "the sockets are too young");
        let losses = &report.losses;
        if losses.events > 0 {
            return Ok(());
        }
        ensure!(report.complete && !losses.unrepaired, "something was lost: {losses:?}");
        check_numbers(report, expected)?;
        ensure!(report.totals.closed_late == 0, "{} closed late", report.totals.closed_late);
        let stacks = !report.unseen.iter().any(|unseen| unseen.starts_with("no stacks:"));
        ensure!(stacks != is_confidential(), "unseen: {:?}", report.unseen);
        for group in report.groups.iter().chain(&report.sending) {
            check_verdict(group, expected)?;
            check_people(group, scene, expected)?;
            let Losses { stacks_skipped, stacks_dropped, .. } = losses;
            let context = || format!("{stacks_skipped} stacks skipped, {stacks_dropped} dropped: {group:?}");
            if stacks { check_code(group, scene, expected) } else { check_no_code(group) }.with_context(context)?;
            check_holders(group, &listed, expected)?;
        }
        check_sleepers(report, expected)
    })?;
    hunt.finish()?;
    let lost = report.losses.events > 0;
    ensure!(report.complete != lost, "it says that it is complete: {:?}", report.losses);
    Ok(!lost)
}

/// Leaks once, attaches twice, one after the other, and compares.
pub(crate) fn before_attach(scenario: &Scenario) -> Result<()> {
    let expected = &scenario.expected;
    let mut running = (scenario.start)()?;
    let from_ns = clock::monotonic_ns();
    running.leak()?;
    let listed = truth::settle(&mut running, expected)?;
    let leaked = Span { from_ns, to_ns: clock::monotonic_ns() };
    thread::sleep(OLDER_THAN + Duration::from_millis(100));
    let filter = running.scene.filters();
    let [first, second] = [once(&filter)?, once(&filter)?];
    truth::check_again(&mut running, expected).context("it did not last until both had looked")?;
    for report in [&first, &second] {
        check_numbers(report, expected)?;
        for group in report.groups.iter().chain(&report.sending) {
            let verdicts: Vec<&str> = expected.verdicts.iter().map(|verdict| unseen(*verdict, expected)).collect();
            ensure!(verdicts.contains(&group.verdict.as_str()), "not {verdicts:?}: {group:?}");
            check_holders(group, &listed, expected)?;
            let backlog = expected.may_be(Verdict::NeverAccepted);
            let known = if backlog { "not-accepted" } else { "before-trace" };
            ensure!(group.opened.known == known && group.opened.stack.is_none(), "not {known}: {group:?}");
            check_owner(group, if backlog { &running.scene.openers } else { &running.scene.holders }, expected)?;
            check_age(&group.age.oldest, report.mono_ns, leaked)?;
            group.examples.iter().try_for_each(|example| check_age(&example.age, report.mono_ns, leaked))?;
        }
        check_sleepers(report, expected)?;
    }
    ensure!(conclusions(&first) == conclusions(&second), "{first:?}\nand then {second:?}");
    Ok(())
}

/// What may not change from one look to the next.
fn conclusions(report: &Report) -> BTreeSet<(&str, Option<u32>, usize, Vec<Holders>)> {
    let mut conclusions = BTreeSet::new();
    for Group { verdict, process, sockets, holders, .. } in report.groups.iter().chain(&report.sending) {
        let mut holders = holders.clone();
        holders.sort();
        conclusions.insert((verdict.as_str(), process.as_ref().map(|process| process.pid), *sockets, holders));
    }
    conclusions
}

fn sockets(groups: &[Group]) -> usize {
    groups.iter().map(|group| group.sockets).sum()
}

fn check_numbers(report: &Report, expected: &Expected) -> Result<()> {
    let (leaked, sending) = (sockets(&report.groups), sockets(&report.sending));
    ensure!(leaked == expected.leaked, "{leaked} leaked instead of {}", expected.leaked);
    ensure!(sending == expected.in_use, "{sending} in use instead of {}", expected.in_use);
    let totals = &report.totals;
    let ghosts = if expected.ghosts() { expected.leaked } else { 0 };
    ensure!(totals.ghosts == ghosts && totals.young == 0, "not {ghosts} ghosts, none young: {totals:?}");
    let close_wait = expected.in_close_wait(1);
    ensure!(totals.close_wait == close_wait, "{} in CLOSE_WAIT instead of {close_wait}", totals.close_wait);
    Ok(())
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NeverAccepted => "never-accepted",
        Verdict::EofUnread => "eof-unread",
        Verdict::EofRead => "eof-read",
        Verdict::FinConsumed => "fin-consumed",
        Verdict::HeldElsewhere => "held-elsewhere",
        Verdict::Sending | Verdict::Awaited => "sending",
        Verdict::BlockedInSend => "blocked-in-send",
        Verdict::GhostFd { .. } => "ghost-fd",
        Verdict::Pool => "pool",
    }
}

/// The verdict where neither the receive that returned 0 nor who opened it was seen: the queues have to tell.
fn unseen(verdict: Verdict, expected: &Expected) -> &'static str {
    use super::expected::Queue;
    match verdict {
        Verdict::EofRead => name(Verdict::FinConsumed),
        Verdict::HeldElsewhere if expected.recv_queue == Queue::EMPTY => name(Verdict::FinConsumed),
        Verdict::HeldElsewhere | Verdict::Pool => name(Verdict::EofUnread),
        other => name(other),
    }
}

fn check_verdict(group: &Group, expected: &Expected) -> Result<()> {
    let verdicts: Vec<&str> = expected.verdicts.iter().map(|verdict| name(*verdict)).collect();
    ensure!(verdicts.contains(&group.verdict.as_str()), "not {verdicts:?}: {group:?}");
    Ok(())
}

/// One of these; nobody where nothing tells which of several listeners has the socket in its backlog.
fn check_owner(group: &Group, owners: &[u32], expected: &Expected) -> Result<()> {
    if expected.ambiguous_listener {
        ensure!(group.process.is_none(), "guessed: {group:?}");
        return Ok(());
    }
    let owner = group.process.as_ref().with_context(|| format!("nobody: {group:?}"))?.pid;
    ensure!(owners.contains(&owner), "none of {owners:?}: {group:?}");
    Ok(())
}

/// Whose leak it is, and who opened the sockets.
fn check_people(group: &Group, scene: &Scene, expected: &Expected) -> Result<()> {
    let backlog = expected.may_be(Verdict::NeverAccepted);
    let owners = if expected.may_be(Verdict::HeldElsewhere) { &scene.holders } else { &scene.openers };
    check_owner(group, owners, expected)?;
    let known = match (backlog, is_confidential()) {
        (true, _) => "not-accepted",
        (false, true) => "not-taken",
        (false, false) => "seen",
    };
    ensure!(group.opened.known == known, "not {known}: {group:?}");
    if !backlog {
        let opener = group.opened.by.as_ref().with_context(|| format!("opened by nobody: {group:?}"))?.pid;
        ensure!(scene.openers.contains(&opener), "none of {:?} opened: {group:?}", scene.openers);
    }
    Ok(())
}

/// The functions that opened, and those that were told of the end.
fn check_code(group: &Group, scene: &Scene, expected: &Expected) -> Result<()> {
    if let Some(opened) = &expected.opened {
        let stack = group.opened.stack.as_ref().context("no opening stack")?;
        stacks::check(stack, opened, scene.names_functions).context("opened")?;
        ensure!(opened.thread.is_none() || group.opened.thread.as_deref() == opened.thread, "thread that opened");
    }
    if let Some(told) = &expected.told {
        let sockets: usize = group.told.iter().map(|told| told.sockets).sum();
        ensure!(sockets == group.sockets, "{sockets} told of the end");
        for place in &group.told {
            let stack = place.stack.as_ref().context("no end-of-file stack")?;
            stacks::check(stack, told, scene.names_functions).context("told")?;
            let thread = place.by.as_ref().map(|thread| thread.comm.as_str());
            ensure!(told.thread.is_none() || thread == told.thread, "told thread {thread:?}");
            // A loop of an interpreted language is known where its functions have names.
            let names_functions = scene.names_functions && stacks::names_functions(stack);
            let event_loop = told.event_loop.filter(|_| told.interpreted.is_empty() || names_functions);
            ensure!(place.through_event_loop.as_deref() == event_loop, "not through {event_loop:?}: {place:?}");
            let advised = event_loop.is_none_or(|name| group.advice.contains(&format!("{name}, an event loop")));
            ensure!(advised, "not of {event_loop:?}: {}", group.advice);
        }
    } else {
        ensure!(group.told.is_empty(), "told of the end");
    }
    let shut_down: usize = group.shut_down.iter().map(|place| place.sockets).sum();
    ensure!(shut_down == expected.shut_down.map_or(0, |_| group.sockets), "{shut_down} shut down: {group:?}");
    for (place, expected) in group.shut_down.iter().zip(expected.shut_down.iter().cycle()) {
        stacks::check(place.stack.as_ref().context("no stack of a shutdown")?, expected, scene.names_functions)
            .context("shut down")?;
    }
    if expected.ghosts() {
        let how = if expected.shut_down.is_some() { "by shutdown()" } else { "by a reset, a time-out or a kill" };
        ensure!(group.evidence.contains(how), "not {how}: {group:?}");
    }
    Ok(())
}

/// No stack is shown where none can be taken.
fn check_no_code(group: &Group) -> Result<()> {
    let stacks = [&group.opened.stack].into_iter().chain(group.told.iter().map(|told| &told.stack));
    ensure!(stacks.chain(group.shut_down.iter().map(|place| &place.stack)).all(Option::is_none), "a stack");
    Ok(())
}

/// Where threads sleep, of the verdicts that it explains.
fn check_sleepers(report: &Report, expected: &Expected) -> Result<()> {
    let explains = [Verdict::NeverAccepted, Verdict::EofUnread, Verdict::BlockedInSend];
    let explained = explains.into_iter().any(|verdict| expected.may_be(verdict));
    let Some(asleep) = expected.asleep.filter(|_| explained) else { return Ok(()) };
    // In several groups where several processes leak, each with its own threads.
    let places = report.groups.iter().flat_map(|group| &group.asleep);
    let found = places
        .filter(|place| place.stack.as_ref().is_some_and(|stack| stacks::check(stack, &asleep.stack, false).is_ok()));
    let threads: usize = found.map(|place| place.threads).sum();
    ensure!(threads >= asleep.threads, "{threads} threads asleep in {:?}: {:?}", asleep.stack.functions, report.groups);
    Ok(())
}

/// As `ss` says, which has it from `/proc`.
fn check_holders(group: &Group, listed: &[Listed], expected: &Expected) -> Result<()> {
    let held: usize = group.holders.iter().map(|holder| holder.sockets).sum();
    if expected.may_be(Verdict::NeverAccepted) {
        ensure!(held == 0 && group.held_by_nobody == group.sockets, "held: {group:?}");
    } else {
        ensure!(held == group.sockets && group.held_by_nobody == 0, "not held: {group:?}");
    }
    ensure!(!group.examples.is_empty(), "no example: {group:?}");
    for example in &group.examples {
        let Some(socket) = listed.iter().find(|socket| Some(socket.cookie) == example.cookie) else {
            ensure!(expected.ghosts(), "`ss` does not list {example:?}");
            continue;
        };
        let mut by_ss: Vec<Descriptor> =
            socket.holders.iter().map(|holder| Descriptor { pid: holder.pid, fd: holder.fd }).collect();
        let mut shown = example.holders.clone();
        by_ss.sort();
        shown.sort();
        ensure!(by_ss == shown, "{by_ss:?} by `ss`: {example:?}");
    }
    Ok(())
}

/// The FIN came while the scenario leaked.
fn check_age(age: &Age, mono_ns: u64, leaked: Span) -> Result<()> {
    let (least, most) = (mono_ns - leaked.to_ns, mono_ns - leaked.from_ns);
    let at_most = age.at_most_ns.unwrap_or(u64::MAX);
    ensure!(age.at_least_ns <= most + TOLERANCE_NS, "older than {most} ns: {age:?}");
    ensure!(at_most + TOLERANCE_NS >= least, "younger than {least} ns: {age:?}");
    ensure!(age.at_least_ns <= at_most, "no interval: {age:?}");
    Ok(())
}
