//! What counts as a leak, and how it is told.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::command::{leaky, run, run_leaky};
use crate::support::run::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("runs::leaks::closed_by_nothing_but_the_exit", by_exit),
        trial("runs::leaks::named_by_the_first_thread", named_by_the_first_thread),
        trial("runs::leaks::ghosts", ghosts),
        trial("runs::leaks::held_last_by_another", held_last_by_another),
        trial("runs::leaks::closed_late", closed_late),
        trial("runs::leaks::two_thousand_children", two_thousand_children),
        trial("runs::leaks::of_a_daemon", of_a_daemon),
        trial("runs::leaks::of_another_user", of_another_user),
        trial("runs::leaks::in_another_network_namespace", in_another_network_namespace),
        trial("runs::leaks::allowed", allowed),
    ]
}

fn by_exit() -> Result<()> {
    let ended = run_leaky(&[], &["leak", "5"])?;
    ended.check(99, 5)?;
    ended.check_all("/fate", "closed-by-exit")?;
    ended.check_all("/verdict", "eof-read")?;
    ended.check_all("/process/comm", "leaky")?;
    run_leaky(&[], &["close", "5"])?.check(0, 0)?;
    // Too young, and only reported.
    run_leaky(&["--older-than", "1m"], &["leak", "5"])?.check(0, 0)?;
    run_leaky(&["--leak-exit-code", "0"], &["leak", "5"])?.check(0, 5)
}

/// The threads of a process end in any order.
fn named_by_the_first_thread() -> Result<()> {
    let ended = run_leaky(&[], &["threads", "3"])?;
    ended.check(99, 3)?;
    ended.check_all("/process/comm", "leaky")
}

fn ghosts() -> Result<()> {
    let ended = run_leaky(&[], &["ghost"])?;
    ended.check(99, 1)?;
    ended.check_all("/fate", "closed-by-exit")?;
    ended.check_all("/verdict", "ghost-fd")?;
    ended.check_stack("/opened/stack", "open_connection")
}

fn held_last_by_another() -> Result<()> {
    let ended = run_leaky(&[], &["inherit"])?;
    ended.check(99, 1)?;
    ended.check_all("/verdict", "held-elsewhere")?;
    let leak = &ended.report["leaks"][0];
    let (opener, holder) = (&leak["opened"]["by"]["pid"], &leak["process"]["pid"]);
    ensure!(*opener == ended.report["pid"] && holder != opener, "opened by {opener}, held by {holder}");
    Ok(())
}

fn closed_late() -> Result<()> {
    let ended = run_leaky(&["--max-dwell", "100ms"], &["late", "300"])?;
    ended.check(99, 1)?;
    ended.check_all("/fate", "closed-late")?;
    ended.check_stack("/shut_down/0/stack", "main")?;
    let age = ended.report["leaks"][0]["age"]["oldest"]["at_least_ns"].as_u64().context("no age")?;
    ensure!((300_000_000..10_000_000_000).contains(&age), "{age} ns");
    run_leaky(&["--max-dwell", "20s"], &["late", "300"])?.check(0, 0)?;
    run_leaky(&[], &["late", "300"])?.check(0, 0)
}

fn two_thousand_children() -> Result<()> {
    let ended = run_leaky(&[], &["children", "2000"])?;
    ended.check(99, 200)?;
    ended.check_all("/fate", "closed-by-exit")?;
    ended.check_all("/process/comm", "leaky")?;
    let leaks = ended.report["leaks"].as_array().context("no leaks")?;
    let processes: u64 = leaks.iter().filter_map(|leak| leak["processes"].as_u64()).sum();
    ensure!(processes == 200, "{processes} processes");
    // Those whose stacks were not to be had are together, too.
    ensure!(leaks.len() < 20, "{} groups", leaks.len());
    Ok(())
}

fn of_a_daemon() -> Result<()> {
    let ended = run_leaky(&[], &["daemon"])?;
    let pid = ended.stdout.lines().find_map(|line| line.strip_prefix("DAEMON ")).context("no daemon")?;
    let pid: i32 = pid.parse()?;
    kill_process(Pid::from_raw(pid).context("no pid")?, Signal::KILL)?;
    ended.check(99, 1)?;
    ended.check_all("/fate", "open-at-end")?;
    ended.check_all("/process/pid", pid)?;
    ensure!(ended.report["processes_left"] == 1, "{}", ended.report["processes_left"]);
    ensure!(ended.stderr.contains("1 process started by the command still running"), "{}", ended.stderr);
    Ok(())
}

fn of_another_user() -> Result<()> {
    run_leaky(&[], &["drop"])?.check(99, 1)
}

fn in_another_network_namespace() -> Result<()> {
    let script = format!("ip link set lo up && exec {} leak 2", leaky()?.display());
    run(&[], &["unshare", "--net", "sh", "-c", &script])?.check(99, 2)
}

fn allowed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("allow.toml");
    let file = path.display().to_string();
    let rules = "[[allow]]\nreason = \"another program's\"\nremote = \"192.0.2.0/24\"\n\
                 [[allow]]\nreason = \"known since May\"\nremote = \"127.0.0.1\"\nverdict = \"ghost-fd\"\nfunction = \"open_*\"\n";
    fs::write(&path, rules)?;
    let ended = run_leaky(&["--allow", &file], &["ghost"])?;
    ended.check(0, 0)?;
    ended.check_all("/allowed_by", 4)?;
    ensure!(ended.report["allowed"] == 1, "{}", ended.report["allowed"]);
    let used: Vec<_> =
        ended.report["rules"].as_array().context("no rules")?.iter().map(|rule| &rule["sockets"]).collect();
    ensure!(used == [&Value::from(0), &Value::from(1)], "{used:?}");
    ensure!(ended.stderr.contains(&format!("unused rule: {file}:1: another program's")), "{}", ended.stderr);
    ensure!(ended.stderr.contains(&format!("allowed: 1 socket by {file}:4: known since May")), "{}", ended.stderr);
    ensure!(ended.junit.matches("<skipped").count() == 2, "{}", ended.junit);
    // Another leak is not covered.
    run_leaky(&["--allow", &file], &["leak", "1"])?.check(99, 1)?;
    fs::write(&path, "[[allow]]\nfunction = \"x\"\n")?;
    let refused = run_leaky(&["--allow", &file], &["leak", "1"])?;
    ensure!(refused.code == Some(125) && refused.report.is_null(), "{refused:?}");
    ensure!(refused.stderr.starts_with(&format!("error: {file}:1: a rule without a reason")), "{}", refused.stderr);
    Ok(())
}
