//! Two functions that open sockets through the same third one, while the kernel side does not know yet where the code of
//! their process is: nobody's socket may be shown under the other function.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        expected::plain_name,
        leaks::{
            hunt::Hunt,
            report::{Group, Report},
        },
        peers::{Upstream, localhost, visit_often},
        program::Program,
    },
    support::run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::callers"; connecting, accepting]
}

/// Calls in this order: a copy of only the first, second, fourth, eighth … stack would show `a` for all of them.
fn letters() -> String {
    (1..=40_u32).map(|nth| if nth.is_power_of_two() { 'a' } else { 'b' }).collect()
}

/// Processes one after the other, each unknown when it begins.
const PROCESSES: usize = 4;
/// Rounds until the kernel side has been told where the code is: it is told at the next tick.
const ROUNDS: usize = 50;

/// Opens from two callers what it leaks.
pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/two_callers.c", &[NO_FRAME_POINTERS])
}

fn connecting() -> Result<()> {
    // The connection is closed when it is dropped.
    let upstreams = [Upstream::start(|_| Ok(()))?, Upstream::start(|_| Ok(()))?];
    let ports = upstreams.each_ref().map(|upstream| upstream.address().port());
    let rports = format!("{},{}", ports[0], ports[1]);
    let hunt = super::json(&["--older-than", "1ms", "--top", "1000", "--rport", &rports])?;
    let program = program()?;
    for _ in 0..PROCESSES {
        let arguments = ["connect".to_owned(), ports[0].to_string(), ports[1].to_string()];
        let program = Program::start(&program, &arguments)?;
        Callers { program, ports, visit: false }.check(&hunt)?;
    }
    hunt.finish()?;
    Ok(())
}

fn accepting() -> Result<()> {
    let hunt = super::json(&["--older-than", "1ms", "--top", "1000", "--laddr", "127.0.0.1"])?;
    let program = program()?;
    for _ in 0..PROCESSES {
        let program = Program::start(&program, &["accept"])?;
        let ports = [program.port()?, program.port()?];
        Callers { program, ports, visit: true }.check(&hunt)?;
    }
    hunt.finish()?;
    Ok(())
}

/// A program that opens connections for `a` at one port, for `b` at another.
struct Callers {
    program: Program,
    ports: [u16; 2],
    /// Whether it has to be visited for that.
    visit: bool,
}

impl Callers {
    fn check(mut self, hunt: &Hunt) -> Result<()> {
        self.program.said("READY")?;
        let mut opened = BTreeMap::new();
        self.open(&letters(), &mut opened)?;
        hunt.wait_until("the sockets of both", |report| self.never_the_other(report, &opened).map(drop))?;
        for round in 1..=ROUNDS {
            self.open("ab", &mut opened)?;
            let mut named = 0;
            hunt.wait_until("the sockets of both, again", |report| {
                named = self.never_the_other(report, &opened)?;
                Ok(())
            })?;
            if named == 2 {
                return Ok(());
            }
            ensure!(round < ROUNDS, "after {round} rounds the stacks do not tell the callers apart");
        }
        Ok(())
    }

    fn open(&mut self, letters: &str, opened: &mut BTreeMap<u16, usize>) -> Result<()> {
        for (letter, port) in ['a', 'b'].into_iter().zip(self.ports) {
            let count = letters.chars().filter(|&other| other == letter).count();
            *opened.entry(port).or_default() += count;
            if self.visit {
                visit_often(localhost(port), count, b"", 0)?;
            }
        }
        self.program.tell(letters)?;
        self.program.said("OPENED")?;
        Ok(())
    }

    /// Each port has its number of sockets, and no stack names the other port's function. Returns for how many ports a stack
    /// names their own.
    fn never_the_other(&self, report: &Report, opened: &BTreeMap<u16, usize>) -> Result<usize> {
        let mut named = 0;
        for ((own, other), port) in [("open_for_a", "open_for_b"), ("open_for_b", "open_for_a")].iter().zip(self.ports)
        {
            let of_program =
                |group: &&Group| group.process.as_ref().is_some_and(|process| process.pid == self.program.pid);
            let groups: Vec<_> =
                report.groups.iter().filter(of_program).filter(|group| group.opened.port == Some(port)).collect();
            let sockets: usize = groups.iter().map(|group| group.sockets).sum();
            ensure!(sockets == opened[&port], "{sockets} instead of {} at port {port}", opened[&port]);
            let mut is_named = false;
            for group in groups {
                let Some(stack) = &group.opened.stack else {
                    ensure!(group.opened.known == "not-taken", "no stack: {group:?}");
                    ensure!(report.losses.stacks_skipped > 0, "a stack was not taken, and nothing says so: {group:?}");
                    continue;
                };
                let names: Vec<_> =
                    stack.frames.iter().map(|frame| frame.function.as_deref().map_or("?", plain_name)).collect();
                ensure!(!names.contains(other), "sockets of `{own}` are shown under `{other}`: {group:?}");
                let complete = names.contains(own) && names.contains(&"main");
                ensure!(complete || stack.truncated.is_some(), "neither `{own}` nor cut off: {names:?}");
                ensure!(names.contains(&"open_one"), "not even what is common: {names:?}");
                is_named |= complete;
            }
            named += usize::from(is_named);
        }
        Ok(named)
    }
}
