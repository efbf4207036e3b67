//! Kernel stacks: what the kernel does for a sleeping thread is what `/proc/PID/task/TID/stack` says.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{hunt::Hunt, report::Stack};
use crate::{
    scenarios::{running::Scenario, truth},
    support::kernel,
};

/// Leaks once with `--kernel-stack`, and once more without. A kernel whose programs cannot take the stack of their own call has
/// that said, and those of sleeping threads all the same.
pub(crate) fn stacks(scenario: &Scenario) -> Result<()> {
    let mut running = (scenario.start)()?;
    let of_calls = kernel::is_at_least(5, 15);
    let hunt = Hunt::start(&running.scene.filters(), &["--kernel-stack"])?;
    running.leak()?;
    truth::settle(&mut running, &scenario.expected)?;
    let process = running.scene.openers.first().copied().context("nobody opens anything")?;
    hunt.wait_until("kernel stacks", |report| {
        ensure!(report.groups.iter().map(|group| group.sockets).sum::<usize>() == scenario.expected.leaked, "too few");
        for group in &report.groups {
            let opened = group.opened.stack.as_ref().context("no opening stack")?;
            ensure!(in_system_call(opened) == of_calls, "opened: {:?}", opened.kernel);
            for told in group.told.iter().filter_map(|told| told.stack.as_ref()).filter(|_| of_calls) {
                ensure!(in_system_call(told), "told: {:?}", told.kernel);
                ensure!(told.kernel.iter().any(|name| name.contains("recv")), "no receive: {:?}", told.kernel);
            }
            ensure!(!group.asleep.is_empty(), "nobody sleeps");
            for asleep in &group.asleep {
                let kernel = &asleep.stack.as_ref().context("a thread without a stack")?.kernel;
                let by_proc = by_proc(process, asleep.tid)?;
                ensure!(*kernel == by_proc, "{kernel:?}, but by `/proc` {by_proc:?}");
            }
        }
        Ok(())
    })?;
    let said = hunt.finish()?.stderr;
    ensure!(said.contains("no kernel stack of a call") != of_calls, "{said}");

    let hunt = Hunt::start(&running.scene.filters(), &[])?;
    hunt.wait_until("no kernel stacks", |report| {
        let threads: Vec<_> = report.groups.iter().flat_map(|group| &group.asleep).collect();
        ensure!(!threads.is_empty(), "nobody sleeps");
        let mut stacks = threads.iter().filter_map(|asleep| asleep.stack.as_ref());
        ensure!(stacks.all(|stack| stack.kernel.is_empty()), "not asked for: {threads:?}");
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// It ends where system calls begin, and none of the tracing is on it.
fn in_system_call(stack: &Stack) -> bool {
    let tracing = |name: &String| name.starts_with("bpf_") || name.starts_with("__traceiter");
    stack.kernel.iter().any(|name| name == "do_syscall_64") && !stack.kernel.iter().any(tracing)
}

/// Lines of `[<0>] do_syscall_64+0x55/0x80`.
fn by_proc(pid: u32, tid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/task/{tid}/stack");
    let stack = fs::read_to_string(&path).context(path)?;
    let name = |line: &str| Some(line.split_whitespace().nth(1)?.split('+').next()?.to_owned());
    // A call that sleeps may be one that a program waits for the end of.
    Ok(stack.lines().filter_map(name).filter(|name| !name.starts_with("bpf_trampoline_")).collect())
}
