//! Functions of Python, as Python says itself where it is.

use std::{collections::BTreeMap, env, path::Path};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile,
        leaks::{
            hunt::Hunt,
            report::{Group, Stack},
        },
        program::{Program, installed},
    },
    support::run::{trial, trials},
};

/// More interpreters to try, separated by colons, where a machine has some.
const MORE: &str = "TCPSTATE_PYTHONS";

pub(crate) fn trials() -> Vec<Trial> {
    let more = env::var_os(MORE).unwrap_or_default();
    let more = env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    let more = more.map(|python| trial(format!("hunts::python::{}", python.display()), move || agrees(&python)));
    trials!["hunts::python"; as_it_says_itself, begun_later, asleep].into_iter().chain(more).collect()
}

fn as_it_says_itself() -> Result<()> {
    agrees(&installed("python3")?)
}

/// Function, file and line, innermost first.
type Frames = Vec<(String, String, usize)>;

/// Where sockets were opened, and where their program was told of the end; with how many there were.
type Places = BTreeMap<(Frames, Frames), usize>;

/// Every stack is as Python says itself, and each pair of them a group.
fn agrees(python: &Path) -> Result<()> {
    let program = start(python)?;
    program.said("READY")?;
    let hunt = super::json(&["--older-than", "1ms", "--pid", &program.pid.to_string()])?;
    leaks_as_it_says(program, hunt)
}

/// From the first stack on, of a program that begins after the hunt, whatever the hunt leaves out.
fn begun_later() -> Result<()> {
    let python = installed("python3")?;
    for filter in [&["--comm", "python3"][..], &["--laddr", "127.0.0.1"], &[]] {
        let hunt = super::json(&[&["--older-than", "1ms"], filter].concat())?;
        let program = start(&python)?;
        program.said("READY")?;
        leaks_as_it_says(program, hunt).with_context(|| format!("{filter:?}"))?;
    }
    Ok(())
}

fn start(python: &Path) -> Result<Program> {
    let script = compile::source("python/functions.py");
    Program::start(python, &[script.to_str().context("a path of UTF-8")?])
}

fn leaks_as_it_says(mut program: Program, hunt: Hunt) -> Result<()> {
    program.tell("go")?;
    let sockets: usize = 16;
    let mut truth = Places::new();
    for _ in 0..sockets {
        let opened = serde_json::from_str(&program.said("OPENED")?)?;
        let told = serde_json::from_str(&program.said("TOLD")?)?;
        *truth.entry((opened, told)).or_default() += 1;
    }
    ensure!(program.number::<usize>("LEAKED")? == sockets);
    let report = hunt.wait_until("all stacks", |report| {
        let mut found = Places::new();
        let its = |group: &&Group| group.process.as_ref().is_some_and(|process| process.pid == program.pid);
        for group in report.groups.iter().filter(its) {
            let (opened, told) = stacks(group)?;
            *found.entry((frames(opened)?, frames(told)?)).or_default() += group.sockets;
        }
        let missing = truth.iter().find(|(places, sockets)| found.get(*places) != Some(*sockets));
        ensure!(missing.is_none() && found.len() == truth.len(), "{missing:#?} is not among {found:#?}");
        Ok(())
    })?;
    hunt.finish()?;
    // Between a function and the one that `map()` is called by there is `map()`.
    let between = report.groups.iter().any(|group| {
        let Some(stack) = &group.opened.stack else { return false };
        let at = |name: &str| {
            stack
                .frames
                .iter()
                .position(|frame| frame.function.as_deref().is_some_and(|function| function.ends_with(name)))
        };
        at("<lambda>").zip(at("mapped")).is_some_and(|(inner, outer)| outer > inner + 1)
    });
    ensure!(between, "nothing lies between functions that C code calls");
    Ok(())
}

/// Where a thread waits that was there before the hunt began.
fn asleep() -> Result<()> {
    let script = compile::source("python/sleeping.py");
    let program = Program::start(&installed("python3")?, &[script.to_str().context("a path of UTF-8")?])?;
    let sockets: usize = program.number("LEAKED")?;
    let truth: Frames = serde_json::from_str(&program.said("TRUTH")?)?;
    let hunt = super::json(&["--older-than", "1ms", "--pid", &program.pid.to_string()])?;
    hunt.wait_until("where the thread waits", |report| {
        let of_all: usize = report.groups.iter().map(|group| group.sockets).sum();
        ensure!(of_all == sockets, "{of_all} sockets instead of {sockets}");
        let mut stacks =
            report.groups.iter().flat_map(|group| &group.asleep).filter_map(|asleep| asleep.stack.as_ref());
        ensure!(
            stacks.any(|stack| frames(stack).is_ok_and(|frames| frames == truth)),
            "not {truth:?}: {:?}",
            report.groups
        );
        Ok(())
    })?;
    hunt.finish().map(drop)
}

fn stacks(group: &Group) -> Result<(&Stack, &Stack)> {
    let opened = group.opened.stack.as_ref().with_context(|| format!("nobody knows where: {group:?}"))?;
    let [told] = &group.told[..] else { anyhow::bail!("not told at one place: {group:?}") };
    Ok((opened, told.stack.as_ref().context("nobody knows where it was told")?))
}

/// Those of Python.
fn frames(stack: &Stack) -> Result<Frames> {
    let of_python = stack.frames.iter().filter(|frame| frame.language.as_deref() == Some("python"));
    let frame = of_python.map(|frame| Some((frame.function.clone()?, frame.file.clone()?, frame.line?)));
    frame.collect::<Option<Frames>>().with_context(|| format!("a frame has no name: {stack:?}"))
}
