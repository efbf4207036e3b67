//! What cannot work is refused by name; what goes away ends a hunt quietly; hostile names stay names.

use std::io::{self, BufRead as _, BufReader};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::scene::Leaky;
use crate::{
    output::HOSTILE,
    scenarios::leaks::hunt::{Ended, Hunt},
    support::{launch::Launch, process::Actor, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "hunts::errors";
        not_root, no_such_process, unusable_options, reader_goes_away, reader_is_gone_before_the_start, process_exits,
        hostile_names, nested_pids,
    ]
}

fn not_root() -> Result<()> {
    let launch = Launch { uid: Some(65_534), ..Launch::default() };
    refused(&launch, &[], &["CAP_BPF", "CAP_PERFMON", "sudo"])
}

fn no_such_process() -> Result<()> {
    let actor = Actor::start("ts-gone")?;
    let pid = actor.pid.to_string();
    // Dropping it reaps it, and pids are handed out upwards, so this one is free.
    drop(actor);
    refused(&Launch::default(), &["--pid", &pid], &[&pid])
}

fn unusable_options() -> Result<()> {
    for (option, value, needle) in [
        ("--interval", "10ms", "at least 100ms"),
        ("--stack-size", "1", "--stack-size 16K"),
        ("--top", "0", "--top"),
        ("--older-than", "5", "--older-than"),
        ("--weight", "bytes", "sockets"),
        ("--netns", "no-such-namespace", "namespace"),
    ] {
        refused(&Launch::default(), &[option, value], &[value, needle]).with_context(|| option.to_owned())?;
    }
    Ok(())
}

/// Where process ids are not the kernel's, every holder would seem to be nobody, or another process.
fn nested_pids() -> Result<()> {
    for command in [&["leaks", "--once"][..], &["record", "-o", "/dev/null"]] {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_tcpstate")]).args(command);
        let ended = unshare.output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(1) && ended.stdout.is_empty(), "{command:?}: {ended:?}");
        ensure!(said.starts_with("error: this is a nested pid namespace"), "{command:?}: {said}");
    }
    Ok(())
}

/// It ends at once with an error that names `needles`, and writes nothing to standard output.
fn refused(launch: &Launch, arguments: &[&str], needles: &[&str]) -> Result<()> {
    let Ended { status, stdout, stderr } = Hunt::spawn(launch, &super::owned(arguments))?.end()?;
    ensure!(status.code().is_some_and(|code| code != 0), "{status}");
    ensure!(stdout.is_empty(), "standard output: {stdout}");
    ensure!(!stderr.contains("panicked"), "{stderr}");
    let message = stderr.strip_prefix("error: ").with_context(|| format!("no `error: ` in {stderr}"))?;
    ensure!(!message.starts_with(char::is_uppercase), "not lower-case: {stderr}");
    for needle in needles {
        ensure!(message.contains(needle), "does not name `{needle}`: {stderr}");
    }
    Ok(())
}

/// `tcpstate leaks | head -1`: it ends quietly with the next report.
fn reader_goes_away() -> Result<()> {
    for format in ["json", "text"] {
        let (reader, writer) = io::pipe()?;
        let arguments = ["-o", format, "--interval", "100ms"];
        let hunt = Hunt::spawn_with_stdout(&super::owned(&arguments), writer)?;
        let mut first = String::new();
        let mut reader = BufReader::new(reader);
        reader.read_line(&mut first)?;
        ensure!(first.contains("CLOSE_WAIT") || first.contains("\"leaks\""), "the first line is `{first}`");
        drop(reader);
        quiet(&hunt.end()?)?;
    }
    Ok(())
}

fn reader_is_gone_before_the_start() -> Result<()> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    quiet(&Hunt::spawn_with_stdout(&super::owned(&["--once"]), writer)?.end()?)
}

fn quiet(ended: &Ended) -> Result<()> {
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{}\n{}", ended.status, ended.stderr);
    Ok(())
}

/// The hunt of a process ends with it, with a last report and 0.
fn process_exits() -> Result<()> {
    let leaky = Leaky::new()?;
    leaky.leak(2)?;
    let hunt = super::json(&["--older-than", "1ms", "--pid", &leaky.server.pid.to_string()])?;
    hunt.wait_until("its sockets", |report| {
        ensure!(report.totals.close_wait == 2, "{:?}", report.totals);
        Ok(())
    })?;
    leaky.server.exit()?;
    let ended = hunt.end()?;
    quiet(&ended)?;
    let last = ended.stdout.lines().last().context("no report")?;
    let last: crate::scenarios::leaks::report::Report = serde_json::from_str(last)?;
    ensure!(last.totals.close_wait == 0 && last.groups.is_empty(), "its sockets are still there: {:?}", last.groups);
    Ok(())
}

fn hostile_names() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    let filter = ["--older-than", "1ms", "--lport", &port];
    let json = super::json(&filter)?;
    let text = super::spawn(&[&filter[..], &["--interval", "200ms"]].concat())?;
    let dangerous = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    let mut names = std::collections::BTreeSet::new();
    for (count, name) in (1..).zip(HOSTILE) {
        leaky.server.set_name(name)?;
        leaky.leak(1)?;
        // The process has the name of its first thread, the one that accepted.
        let mut shown = String::new();
        json.wait_until("a name", |report| {
            ensure!(report.totals.close_wait == count, "{:?}", report.totals);
            let named = report.groups.iter().find_map(|group| group.process.as_ref()?.comm.clone());
            shown = named.context("no name")?;
            ensure!(!names.contains(&shown), "a name of before: {shown:?}");
            Ok(())
        })?;
        ensure!(!shown.is_empty() && !shown.contains(dangerous), "{shown:?}");
        let in_text = format!("{shown}[{}]", leaky.server.pid);
        text.wait_until_said("the same name", |said, _| said.contains(&in_text))?;
        names.insert(shown);
    }
    ensure!(names.len() == HOSTILE.len(), "different names became the same: {names:?}");
    let (json, text) = (json.finish()?, text.finish()?);
    for line in json.stdout.lines() {
        let parsed: serde_json::Value = serde_json::from_str(line)?;
        let strings = strings(&parsed);
        let raw = strings.iter().find(|text| text.contains(dangerous));
        ensure!(raw.is_none(), "raw control characters: {raw:?}");
    }
    ensure!(!text.stdout.contains(char::REPLACEMENT_CHARACTER), "not UTF-8");
    for said in [&text.stdout, &text.stderr, &json.stderr] {
        let line = said.lines().find(|line| line.contains(dangerous));
        ensure!(
            line.is_none(),
            "raw control characters: {:?}",
            line.map(str::escape_debug).map(|line| line.to_string())
        );
    }
    Ok(())
}

fn strings(value: &serde_json::Value) -> Vec<&str> {
    use serde_json::Value;
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| [vec![key.as_str()], strings(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}
