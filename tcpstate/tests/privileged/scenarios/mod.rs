//! Programs that leak, or seem to, each with its ground truth: `tests/scenarios` has their sources.
//!
//! The ground truth is verified without the tracer first, then the tracer is compared with it.

mod clean;
mod clients;
pub(crate) mod compile;
pub(crate) mod expected;
mod interpreter;
mod languages;
pub(crate) mod leaks;
pub(crate) mod peers;
mod proc;
mod processes;
pub(crate) mod program;
pub(crate) mod running;
mod servers;
mod symbols;
mod trace;
pub(crate) mod truth;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::support::run::trial;
use running::Scenario;
use symbols::Functions;

pub(crate) fn trials() -> Vec<Trial> {
    let ground_truth = all().map(|scenario| trial_of("ground_truth", scenario, ground_truth));
    let trace = all().map(|scenario| trial_of("trace", scenario, trace::compare));
    let attached = all().map(|scenario| trial_of("leaks::attached", scenario, leaks::attached));
    // Nothing tells that a descriptor was in `CLOSE_WAIT` before anybody looked.
    let listed = all().filter(|scenario| !scenario.expected.ghosts());
    let before = listed.map(|scenario| trial_of("leaks::before_attach", scenario, leaks::before_attach));
    let asleep = all().filter(|scenario| scenario.name == "send_block");
    let kernel = asleep.map(|scenario| trial_of("leaks::kernel_stacks", scenario, leaks::kernel::stacks));
    ground_truth.chain(kernel).chain(trace).chain(attached).chain(before).collect()
}

fn trial_of(kind: &str, scenario: Scenario, test: fn(&Scenario) -> Result<()>) -> Trial {
    trial(format!("scenarios::{kind}::{}", scenario.name), move || test(&scenario))
}

/// The scenario of this name.
pub(crate) fn named(name: &str) -> Result<Scenario> {
    all().find(|scenario| scenario.name == name).with_context(|| format!("no scenario `{name}`"))
}

fn all() -> impl Iterator<Item = Scenario> {
    [&servers::SCENARIOS[..], &clients::SCENARIOS, &languages::SCENARIOS, &processes::SCENARIOS, &clean::SCENARIOS]
        .into_iter()
        .flatten()
        .copied()
}

/// Builds the programs of all scenarios, as each is built when its scenario starts.
pub(crate) fn build() -> Result<()> {
    all().try_for_each(|scenario| (scenario.start)().map(drop).with_context(|| scenario.name))
}

/// Two rounds of leaks, each as expected; the functions and threads that are to be found exist.
fn ground_truth(scenario: &Scenario) -> Result<()> {
    let mut running = (scenario.start)()?;
    for round in 1..=2 {
        running.leak().with_context(|| format!("round {round}"))?;
        truth::settle(&mut running, &scenario.expected).with_context(|| format!("round {round}"))?;
    }
    let expected = &scenario.expected;
    let asleep = expected.asleep.map(|asleep| asleep.stack);
    let opener = running.scene.openers.first().copied().context("nobody opens anything")?;
    let functions = Functions::of(opener, running.scene.perf_map)?;
    let threads = proc::thread_names(opener)?;
    for stack in [expected.opened, expected.told, asleep].into_iter().flatten() {
        functions.check(&stack)?;
        ensure!(stack.thread.is_none_or(|name| threads.contains(name)), "{:?} is none of {threads:?}", stack.thread);
    }
    Ok(())
}
