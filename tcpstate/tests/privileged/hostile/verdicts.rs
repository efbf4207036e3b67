//! What a report has to say of the neighbour and of attackers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{stage::Attacker, watch::Watch};

/// Functions of the neighbour, innermost first.
const GOOD: [&str; 2] = ["good_inner", "good_outer"];
const LATE: [&str; 2] = ["late_inner", "late_outer"];
/// Functions of the library that attackers make theirs of.
const OF_THE_LIBRARY: [&str; 2] = ["hostile_inner", "hostile_call"];
/// What a tracer may have in memory, in MiB; and each of its helpers.
const MOST_MIB: u64 = 128;
const HELPERS_MOST_MIB: u64 = 768;
/// No name that is shown is longer, in bytes.
const LONGEST: usize = 4096;

/// Its sockets are all there, and its functions have their names, those that it called late, too.
pub(crate) fn check_neighbour(report: &Value, pid: u32, sockets: usize) -> Result<()> {
    check_process(report, pid, sockets).context("the neighbour")?;
    check_neighbours_stacks(groups(report).filter(|group| group["process"]["pid"] == pid), true)?;
    check_text(report)
}

/// Each of its groups was opened, and told of the end, by functions that have their names.
pub(crate) fn check_neighbours_stacks<'a>(groups: impl Iterator<Item = &'a Value>, late: bool) -> Result<()> {
    let mut missing: Vec<_> = if late { [GOOD, LATE].into() } else { [GOOD].into() };
    for group in groups {
        let (opened, told) = (functions(&group["opened"]["stack"]), functions(&group["told"][0]["stack"]));
        let has_all = |names: &[&str]| names.iter().all(|name| opened.contains(name) && told.contains(name));
        ensure!(has_all(&GOOD) || has_all(&LATE), "the neighbour has lost its names: {group}");
        missing.retain(|names| !has_all(names));
    }
    ensure!(missing.is_empty(), "nothing of the neighbour's {missing:?}");
    Ok(())
}

/// Its sockets are all there, with their verdict, and no function has a name that is another's.
pub(crate) fn check_attacker(report: &Value, attacker: &Attacker) -> Result<()> {
    let attack = &attacker.attack;
    if attack.short_lived {
        return Ok(());
    }
    check_process(report, attacker.pid, attack.sockets).with_context(|| attack.name.clone())?;
    for group in groups(report).filter(|group| group["process"]["pid"] == attacker.pid) {
        check_verdict(report, group).with_context(|| attack.name.clone())?;
        if !attack.own_names {
            check_names(attack.module(), group).with_context(|| attack.name.clone())?;
        }
    }
    Ok(())
}

/// All of them were told of the end, which was seen, or the report says that events were lost: a kernel that preempts a task within a
/// BPF program does not run that for others meanwhile, which on an emulated processor is the rule.
pub(crate) fn check_verdict(report: &Value, group: &Value) -> Result<()> {
    let verdict = group["verdict"].as_str().context("no verdict")?;
    let lost = report["losses"]["events"].as_u64().context("no losses")?;
    ensure!(verdict == "eof-read" || verdict == "fin-consumed" && lost > 0, "{verdict}, {lost} events lost: {group}");
    Ok(())
}

/// Nobody took more memory than there is for it.
pub(crate) fn check_memory(watch: &Watch) -> Result<()> {
    watch.check(MOST_MIB, HELPERS_MOST_MIB)
}

fn check_process(report: &Value, pid: u32, sockets: usize) -> Result<()> {
    let processes = report["processes"].as_array().context("no processes")?;
    let process = processes.iter().find(|process| process["pid"] == pid);
    let process = process.with_context(|| format!("process {pid} is in no report"))?;
    ensure!(process["sockets"] == sockets, "{} sockets instead of {sockets}", process["sockets"]);
    Ok(())
}

/// What a module's functions are called is the truth, or nothing.
fn check_names(module: Option<&str>, group: &Value) -> Result<()> {
    let Some(module) = module else { return Ok(()) };
    let told = group["told"].as_array().into_iter().flatten().map(|told| &told["stack"]);
    for stack in told.chain([&group["opened"]["stack"]]) {
        for frame in stack["frames"].as_array().into_iter().flatten() {
            let of_module = frame["module"].as_str().is_some_and(|path| path.ends_with(module));
            let wrong = frame["function"].as_str().filter(|name| !OF_THE_LIBRARY.contains(name));
            ensure!(!of_module || wrong.is_none(), "a wrong name in {module}: {frame}");
        }
    }
    Ok(())
}

fn functions(stack: &Value) -> Vec<&str> {
    let frames = stack["frames"].as_array().into_iter().flatten();
    frames.filter_map(|frame| frame["function"].as_str()).collect()
}

fn groups(report: &Value) -> impl Iterator<Item = &Value> {
    report["groups"].as_array().into_iter().flatten()
}

/// No text is longer than names may be, and none has what a terminal takes for more than text.
pub(crate) fn check_text(value: &Value) -> Result<()> {
    match value {
        Value::String(text) => {
            let start: String = text.chars().take(80).collect();
            ensure!(text.len() <= LONGEST, "a text of {} bytes: {start}…", text.len());
            let invisible = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            };
            ensure!(!text.contains(invisible), "not escaped: {start:?}…");
            Ok(())
        }
        Value::Array(values) => values.iter().try_for_each(check_text),
        Value::Object(fields) => fields.values().try_for_each(check_text),
        _ => Ok(()),
    }
}
