//! A tracer that comes when the leak is there already, or comes again.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use super::scene::{Leaked, Leaky};
use crate::{
    scenarios::{
        leaks::{hunt::Hunt, report::Group, stacks},
        named, truth,
    },
    support::{clock, run::trials},
};

/// Between two clocks: the kernel keeps milliseconds by jiffies, and the tracer measures the age when it reports.
const TOLERANCE_NS: u64 = 10_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::late"; inferred_where_it_connects, inferred_where_it_accepts, restarted]
}

fn inferred_where_it_connects() -> Result<()> {
    inferred("relay", "upstream_connect")
}

fn inferred_where_it_accepts() -> Result<()> {
    inferred("workers", "take_client")
}

/// Where the older sockets were opened is shown only when the same code leaks again, and as an inference. One fault is one group.
fn inferred(scenario: &str, function: &str) -> Result<()> {
    let scenario = named(scenario)?;
    let expected = &scenario.expected;
    let mut running = (scenario.start)()?;
    running.leak()?;
    truth::settle(&mut running, expected)?;
    let filters = running.scene.filters();
    let options: Vec<&str> = filters.iter().map(String::as_str).chain(["--older-than", "1ms"]).collect();
    let json = super::json(&options)?;
    let text = super::spawn(&[&options[..], &["--interval", "200ms"]].concat())?;
    json.wait_until("the leak of before", |report| {
        let known = by_known(&report.groups, "before-trace");
        ensure!(known == expected.leaked && known == sockets(&report.groups), "{:?}", report.groups);
        let shown = report.groups.iter().find(|group| group.opened.stack.is_some());
        ensure!(shown.is_none(), "a stack that nobody can have seen: {shown:?}");
        Ok(())
    })?;
    text.wait_until_said("the leak of before", |said, _| {
        said.contains("before the trace: the next leak of its kind will show where") && !said.contains(function)
    })?;

    running.leak()?;
    truth::settle(&mut running, expected)?;
    json.wait_after(clock::monotonic_ns(), "the leak of now beside it", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        let (sockets, inferred) = (group.sockets, group.opened.inferred);
        ensure!(sockets == 2 * expected.leaked && inferred == expected.leaked, "{group:?}");
        ensure!(group.opened.known == "seen" && group.verdict == "eof-read", "{group:?}");
        // That a receive returned 0 was seen of the later ones only.
        ensure!(group.verdict_inferred == inferred, "{group:?}");
        ensure!(group.told.iter().map(|told| told.sockets).sum::<usize>() == sockets - inferred, "{group:?}");
        let opened = group.opened.stack.as_ref().context("no stack")?;
        stacks::check(opened, &expected.opened.context("nothing is known of it")?, false)
    })?;
    text.wait_until_said("the inference in words", |said, _| {
        let words = format!("{} of them before the trace, inferred from the others:\n", expected.leaked);
        let next = said.split(&words).nth(1).and_then(|rest| rest.lines().next());
        next.is_some_and(|line| line.trim_start().starts_with(function))
    })?;
    json.finish()?;
    text.finish()?;
    Ok(())
}

fn sockets(groups: &[Group]) -> usize {
    groups.iter().map(|group| group.sockets).sum()
}

fn by_known(groups: &[Group], known: &str) -> usize {
    groups.iter().filter(|group| group.opened.known == known).map(|group| group.sockets).sum()
}

/// A tracer that is killed, and one that takes its place: the same verdict and holders, and ages that the truth lies in.
fn restarted() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    let options = ["--older-than", "1ms", "--lport", &port];
    let first = super::json(&options)?;
    // As many as a group shows one by one.
    let leaked = leaky.leak(3)?;
    let of_first = check(&first, &leaky, &leaked, "seen")?;
    for example in &of_first.examples {
        ensure!(example.age.at_most_ns == Some(example.age.at_least_ns), "its entry was seen: {example:?}");
    }
    first.signal(Signal::KILL)?;
    ensure!(!first.end()?.status.success(), "it was not killed");
    let second = super::json(&options)?;
    check(&second, &leaky, &leaked, "before-trace")?;
    second.finish()?;
    Ok(())
}

fn check(hunt: &Hunt, leaky: &Leaky, leaked: &[Leaked], known: &str) -> Result<Group> {
    let mut found = None;
    hunt.wait_until("every socket", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.sockets == leaked.len() && group.verdict == "eof-unread", "{group:?}");
        ensure!(group.opened.known == known, "not {known}: {group:?}");
        let [holder] = &group.holders[..] else { anyhow::bail!("not held by one: {group:?}") };
        ensure!(holder.pid == leaky.server.pid && holder.sockets == leaked.len(), "{group:?}");
        for Leaked { socket, fin } in leaked {
            let example = group.examples.iter().find(|example| example.cookie == Some(socket.cookie));
            let example = example.with_context(|| format!("{socket:?} is not shown"))?;
            let [held] = example.holders[..] else { anyhow::bail!("not one descriptor: {example:?}") };
            ensure!((held.pid, held.fd) == (leaky.server.pid, socket.fd.cast_unsigned()), "{example:?}");
            let (least, most) = (report.mono_ns - fin.to_ns, report.mono_ns - fin.from_ns);
            let at_most = example.age.at_most_ns.context("no upper bound")?;
            ensure!(example.age.at_least_ns <= most + TOLERANCE_NS, "older than {most} ns: {example:?}");
            ensure!(at_most + TOLERANCE_NS >= least, "younger than {least} ns: {example:?}");
        }
        found = Some(group.clone());
        Ok(())
    })?;
    found.context("no group")
}
