//! What people see: columns, times, colours, and other processes' names.

use std::{fs::File, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use libtest_mimic::Trial;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::support::{
    event::{Endpoint, Transition},
    pair::{Connection, Pair, Setting},
    process::Actor,
    run::trials,
    tracer::{Ended, Setup, Trace, Tracer},
    transcript::Transcript,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "output";
        text_says_what_json_says, times, wall_clock_of_json, coloured_on_a_terminal,
        hostile_names_in_text, hostile_names_in_json, verbose_names_the_hooks,
    ]
}

/// A client's connection in both formats: with a text tracer of these arguments and a json tracer beside it.
fn traced_in_text(arguments: &[&str]) -> Result<(Pair, Connection, Trace, Ended)> {
    let pair = Setting::Ipv6.pair()?;
    let pid = pair.client.pid.to_string();
    let json = Tracer::start(["--pid", &pid])?;
    let text = Setup::new(arguments.iter().chain(&["--pid", &pid])).text().spawn()?;
    text.transcript.wait_until("the header", |said| said.stdout().ends_with(b"\n"))?;
    let connection = pair.open()?;
    pair.server.close(&connection.server)?;
    pair.client.await_hangup(&connection.client)?;
    pair.client.close(&connection.client)?;
    json.wait_closed(&[connection.client.cookie])?;
    let ended = text.interrupt()?;
    ensure!(ended.status.success(), "{}", ended.status);
    let trace = json.finish()?;
    connection.check_client(&pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")?;
    Ok((pair, connection, trace, ended))
}

fn text_says_what_json_says() -> Result<()> {
    let (_, _, trace, ended) = traced_in_text(&["--time", "none"])?;
    let lines: Vec<&str> = ended.stdout.lines().skip(1).collect();
    ensure!(lines.len() == trace.transitions.len(), "{} lines:\n{}", lines.len(), ended.stdout);
    for (line, transition) in lines.iter().zip(&trace.transitions) {
        check_line(line, transition).with_context(|| format!("`{line}` for {transition}"))?;
    }
    let arrows: Vec<_> = lines.iter().map(|line| line.chars().position(|c| c == '→')).collect();
    ensure!(arrows.iter().all(|at| *at == arrows[0]), "columns are not aligned:\n{}", ended.stdout);
    ensure!(ended.stderr.contains("5 transitions seen, 0 lost"), "summary: {}", ended.stderr);
    let close_wait = ended.stderr.lines().any(|line| line.trim_start().starts_with("CLOSE_WAIT"));
    ensure!(close_wait, "no row of CLOSE_WAIT in the summary: {}", ended.stderr);
    ensure!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "colours where no terminal is");
    Ok(())
}

fn check_line(line: &str, transition: &Transition) -> Result<()> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let owner = transition.owner.as_ref().context("no owner")?;
    let port = |port| if port == 0 { "*".to_owned() } else { format!("{port}") };
    let endpoint = |end: Endpoint| format!("[{}]:{}", end.addr, port(end.port));
    let expected = [
        owner.pid.to_string(),
        owner.comm.clone(),
        "6".to_owned(),
        endpoint(transition.local),
        endpoint(transition.remote),
        transition.old.clone(),
        "→".to_owned(),
        transition.new.clone(),
    ];
    ensure!(fields.starts_with(&expected.each_ref().map(String::as_str)), "expected {expected:?}");
    let shown_ms = fields.get(8).context("no time in the old state")?;
    match transition.in_old_ns {
        Some(ns) => {
            let shown_ms: f64 = shown_ms.parse().with_context(|| format!("`{shown_ms}`"))?;
            // Two tracers take the time of one transition one after the other.
            let difference = (shown_ms - ns as f64 / 1e6).abs();
            ensure!(difference < 2.0, "{shown_ms} ms, but {ns} ns");
        }
        None => ensure!(shown_ms.parse::<f64>().is_err(), "{shown_ms} ms where nothing is known"),
    }
    ensure!(fields.contains(&"connect"), "no `connect`");
    Ok(())
}

fn times() -> Result<()> {
    let before = Timestamp::now();
    let (.., trace, ended) = traced_in_text(&["--time", "rfc3339"])?;
    for (line, transition) in ended.stdout.lines().skip(1).zip(&trace.transitions) {
        let shown: Timestamp = line.split_whitespace().next().context("an empty line")?.parse()?;
        let json = wall(transition)?;
        ensure!(shown >= before && shown <= Timestamp::now(), "{shown} is not now");
        ensure!(shown.duration_since(json).abs().as_millis() < 50, "{shown} in text, {json} in json");
    }
    let (.., trace, ended) = traced_in_text(&["--time", "relative"])?;
    let seconds = |line: &str| Ok(line.split_whitespace().next().context("an empty line")?.parse::<f64>()?);
    let shown = ended.stdout.lines().skip(1).map(seconds).collect::<Result<Vec<f64>>>()?;
    let (first, last) = (&trace.transitions[0], &trace.transitions[trace.transitions.len() - 1]);
    let lasted = (last.mono_ns - first.mono_ns) as f64 / 1e9;
    let difference = (shown[shown.len() - 1] - shown[0] - lasted).abs();
    ensure!(shown[0] >= 0.0 && shown[0] < 10.0 && difference < 0.05, "{shown:?}, but it lasted {lasted} s");
    let (pair, .., ended) = traced_in_text(&["--time", "local"])?;
    let line = ended.stdout.lines().nth(1).context("no line")?;
    let (time, rest) = line.trim_start().split_once(' ').context("no columns")?;
    ensure!(time.len() == "HH:MM:SS.mmm".len() && time.split(':').count() == 3, "`{time}` is no time of day");
    ensure!(rest.trim_start().starts_with(&pair.client.pid.to_string()), "`{rest}`");
    Ok(())
}

/// The wall clock and the monotonic clock of a line are the same moment.
fn wall_clock_of_json() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::start(["--pid", &pair.client.pid.to_string()])?;
    let before = Timestamp::now();
    let connection = pair.open()?;
    let after = Timestamp::now();
    pair.client.reset(&connection.client)?;
    let trace = tracer.finish()?;
    let shown = trace.of(connection.client.cookie);
    let connected = shown.first().context("not shown")?;
    let at = wall(connected)?;
    // The tracer reads both clocks once at its start; between them and ours a clock may be slewed a little.
    let slack = jiff::SignedDuration::from_millis(5);
    ensure!(at >= before - slack && at <= after + slack, "{at} is not between {before} and {after}");
    ensure!(connection.client.opened.contains(connected.mono_ns), "{:?}: {connected}", connection.client.opened);
    Ok(())
}

fn wall(transition: &Transition) -> Result<Timestamp> {
    let time = transition.time.as_ref().and_then(|time| time.as_str()).context("no time")?;
    time.parse().with_context(|| format!("`{time}`"))
}

fn coloured_on_a_terminal() -> Result<()> {
    ensure!(on_a_terminal(&Setup::default().text())?.contains('\x1b'), "no colour on a terminal");
    let plain = on_a_terminal(&Setup::default().text().env("NO_COLOR", "1"))?;
    ensure!(plain.contains("SYN_SENT") && !plain.contains('\x1b'), "NO_COLOR is not honoured: {plain}");
    Ok(())
}

/// What a terminal gets of a connection being opened.
fn on_a_terminal(setup: &Setup) -> Result<String> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let tracer = setup.spawn_with_stdout(ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?)?;
    let screen = Transcript::start("on a terminal".to_owned(), File::from(terminal), std::io::empty(), false);
    screen.wait_until("the header", |said| said.stdout().ends_with(b"\n"))?;
    let pair = Setting::Ipv4.pair()?;
    let connection = pair.open()?;
    pair.client.reset(&connection.client)?;
    screen.wait_until("SYN_SENT", |said| String::from_utf8_lossy(said.stdout()).contains("SYN_SENT"))?;
    let ended = tracer.interrupt()?;
    ensure!(ended.status.success(), "{}", ended.status);
    Ok(screen.stdout())
}

/// Escape sequences, line ends, a change of direction, and bytes that are not UTF-8.
pub(crate) const HOSTILE: [&[u8]; 4] =
    [b"\x1b[2J\x1b]0;x\x07", b"a\nb\r\tc\x7f", "x\u{202e}gpj\u{9b}1m".as_bytes(), b"\xff\xc3(\x80"];

fn hostile_names_in_text() -> Result<()> {
    let client = Actor::start("ts-client")?;
    let text = Setup::new(["--pid", &client.pid.to_string()]).text().spawn()?;
    text.transcript.wait_until("the header", |said| said.stdout().ends_with(b"\n"))?;
    let opened = connect_under_each_name(&client)?;
    let lines = 1 + 3 * opened;
    text.transcript.wait_until("every line", |said| said.stdout().iter().filter(|b| **b == b'\n').count() >= lines)?;
    let ended = text.interrupt()?;
    ensure!(ended.stdout.lines().count() == lines, "{} lines instead of {lines}", ended.stdout.lines().count());
    ensure!(!ended.stdout.contains(char::REPLACEMENT_CHARACTER), "not UTF-8: {}", ended.stdout.escape_debug());
    let dangerous = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        ensure!(!line.contains(dangerous), "raw control characters: {}", line.escape_debug());
    }
    Ok(())
}

/// The driver refuses a line with a raw control character anyway; here none may come back out of a string either.
fn hostile_names_in_json() -> Result<()> {
    let client = Actor::start("ts-client")?;
    let tracer = Tracer::start(["--pid", &client.pid.to_string()])?;
    let opened = connect_under_each_name(&client)?;
    tracer.wait_until("every connection", |shown| shown.len() == 3 * opened)?;
    let trace = tracer.finish()?;
    let mut names = std::collections::BTreeSet::new();
    for transition in &trace.transitions {
        let comm = &transition.owner.as_ref().context("no owner")?.comm;
        ensure!(!comm.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{comm:?}");
        names.insert(comm);
    }
    ensure!(names.len() == HOSTILE.len(), "different names became the same: {names:?}");
    Ok(())
}

/// Opens a connection and ends it under each hostile name; returns how many.
fn connect_under_each_name(client: &Actor) -> Result<usize> {
    let server = Actor::start("ts-server")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    for name in HOSTILE {
        client.set_name(name)?;
        let socket = client.connect(listener.local)?;
        client.reset(&socket)?;
    }
    Ok(HOSTILE.len())
}

/// `-v` says which way of seeing `accept()` is in use; json has it in its first line.
fn verbose_names_the_hooks() -> Result<()> {
    let tracer = Tracer::start(["-v"])?;
    let trace = tracer.finish()?;
    let accept = trace.probes["hooks"]["accept"].as_str().context("no accept hook in use on this kernel")?;
    ensure!(trace.stderr.contains(accept), "`{accept}` is not in {}", trace.stderr);
    let quiet = Tracer::unfiltered()?.finish()?;
    ensure!(!quiet.stderr.contains(accept), "without -v: {}", quiet.stderr);
    Ok(())
}
