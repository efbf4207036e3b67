//! A program that becomes another one right after it was told of the end: what it did has names of its own, or none.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        expected::plain_name,
        leaks::report::Stack,
        peers::{localhost, visit_often},
        program::Program,
    },
    support::run::trials,
};

/// Each time the stacks come before or after the other program.
const ROUNDS: usize = 5;
/// Rounds to try where the machine is too busy for a stack to be taken before its process is another program.
const MOST_ROUNDS: usize = 20;
/// A stack that has not come by then does not come, nanoseconds.
const TOO_LATE_NS: u64 = 2_000_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::executed"; another_program]
}

/// What begins, and what follows at the same addresses.
pub(super) fn programs() -> Result<[PathBuf; 2]> {
    let fixed = [NO_FRAME_POINTERS, "-static", "-no-pie"];
    Ok([compile::c("c/execute.c", &fixed)?, compile::c("c/execute.c", &[&fixed[..], &["-DAFTER"]].concat())?])
}

fn another_program() -> Result<()> {
    let [first, after] = programs()?;
    let mut whole = 0;
    for _ in 0..MOST_ROUNDS {
        let program = Program::start(&first, &[after.to_string_lossy()])?;
        let port = program.port()?;
        let hunt = super::json(&["--older-than", "1ms", "--lport", &port.to_string()])?;
        visit_often(localhost(port), 1, b"", 0)?;
        let mut has_both = false;
        hunt.wait_until("the socket of what follows", |report| {
            let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
            ensure!(group.verdict == "eof-read", "not eof-read: {group:?}");
            let opened = group.opened.stack.iter().map(|stack| (stack, "first_take"));
            let told = group.told.iter().filter_map(|told| Some((told.stack.as_ref()?, "first_drain")));
            let stacks: Vec<_> = opened.chain(told).collect();
            let both = stacks.len() == 2;
            ensure!(both || group.age.oldest.at_least_ns > TOO_LATE_NS, "not both stacks: {group:?}");
            stacks.into_iter().try_for_each(|(stack, function)| check(stack, function))?;
            has_both = both;
            Ok(())
        })?;
        hunt.finish()?;
        whole += usize::from(has_both);
        if whole == ROUNDS {
            return Ok(());
        }
    }
    ensure!(whole > 0, "not once both stacks in {MOST_ROUNDS} rounds");
    Ok(())
}

fn check(stack: &Stack, function: &str) -> Result<()> {
    let names: Vec<_> = stack.frames.iter().filter_map(|frame| frame.function.as_deref()).map(plain_name).collect();
    ensure!(!names.iter().any(|name| name.starts_with("after_")), "names of the other program: {names:?}");
    ensure!(names.contains(&function) || stack.truncated.is_some(), "neither `{function}` nor cut off: {names:?}");
    Ok(())
}
