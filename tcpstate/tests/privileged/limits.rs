//! What ends a trace: a signal, a count, a duration, the end of the traced processes, the end of the reader.

use std::{
    io::{self, BufRead as _, BufReader},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    clock,
    launch::Launch,
    pair::Setting,
    process::Actor,
    protocol::{AcceptCall, Request},
    run::trials,
    story::Story,
    tracer::{Setup, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "limits";
        interrupt_and_terminate, count, duration, traced_process_exits, every_traced_process_exits,
        children_outlive_their_parent, more_processes_than_descriptors, reader_goes_away, reader_is_gone_before_the_start, shown_within_100_ms,
    ]
}

/// Either signal ends it with 0 and a summary in the stream and on standard error.
fn interrupt_and_terminate() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM] {
        let pair = Setting::Ipv4.pair()?;
        let tracer = Tracer::start(["--pid", &pair.client.pid.to_string()])?;
        let connection = pair.open()?;
        pair.client.reset(&connection.client)?;
        tracer.signal(signal)?;
        let trace = tracer.trace()?;
        connection.check_client(&pair, &trace, "ESTABLISHED CLOSE")?;
        ensure!(trace.stderr.starts_with("3 transitions seen, 0 lost"), "summary on stderr: {}", trace.stderr);
        ensure!(trace.stderr.contains("ESTABLISHED"), "no dwell table on stderr: {}", trace.stderr);
    }
    Ok(())
}

fn count() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::start(["--count", "4", "--pid", &pair.client.pid.to_string()])?;
    let connection = pair.open()?;
    pair.server.close(&connection.server)?;
    pair.client.await_hangup(&connection.client)?;
    pair.client.close(&connection.client)?;
    let trace = tracer.trace()?;
    let states: Vec<&str> = trace.transitions.iter().map(|transition| transition.new.as_str()).collect();
    ensure!(states == ["SYN_SENT", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"], "{states:?}");
    Ok(())
}

/// Of a process that does nothing, so that there is nothing to be written at the end either.
fn duration() -> Result<()> {
    let idle = Actor::start("ts-idle")?;
    let began = Instant::now();
    let tracer = Tracer::start(["--duration", "700ms", "--pid", &idle.pid.to_string()])?;
    let attached = began.elapsed();
    let trace = tracer.trace()?;
    let (least, most) = (Duration::from_millis(700), began.elapsed());
    let elapsed = Duration::from_nanos(trace.summary.elapsed_ns);
    ensure!(elapsed >= least && elapsed <= most, "{elapsed:?} of {most:?}, attached after {attached:?}");
    ensure!(most < least + attached + Duration::from_secs(2), "ended only after {most:?}");
    Ok(())
}

/// A trace of a process ends with it, with its last transitions, a summary and 0.
fn traced_process_exits() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::start(["--pid", &pair.client.pid.to_string()])?;
    let connection = pair.open()?;
    let closed = "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE";
    let story = Story::of(&pair.client, &connection.client)?;
    pair.client.exit()?;
    pair.server.close(&connection.server)?;
    let trace = tracer.trace()?;
    story.owned(pair.client.owner(&connection.client, "connect"), closed).check(&trace)
}

/// Of several the last one counts.
fn every_traced_process_exits() -> Result<()> {
    let (one, other) = (Actor::start("ts-one")?, Actor::start("ts-other")?);
    let tracer = Tracer::start(["--pid", &one.pid.to_string(), "--pid", &other.pid.to_string()])?;
    one.exit()?;
    let listener = other.listen((Ipv4Addr::LOCALHOST, 0))?;
    tracer.wait_entered("LISTEN", &[listener.cookie])?;
    other.exit()?;
    let trace = tracer.trace()?;
    ensure!(trace.of(listener.cookie).len() == 2, "the end of the listener is missing");
    Ok(())
}

/// With `--children` the trace goes on as long as any of them.
fn children_outlive_their_parent() -> Result<()> {
    let parent = Actor::start("ts-parent")?;
    let tracer = Tracer::start(["--pid", &parent.pid.to_string(), "--children"])?;
    let child = parent.fork()?;
    // The child works on this after its parent has gone; then its input ends, and so does it.
    let listening = child.listen((Ipv4Addr::LOCALHOST, 0))?;
    let accepting = child.submit(Request::Accept { listener: listening.fd, call: AcceptCall::Accept4, count: 1 })?;
    parent.exit()?;
    let stranger = Actor::start("ts-stranger")?;
    let peer = stranger.connect(listening.local)?;
    let accepted = accepting.sockets()?;
    stranger.close(&peer)?;
    let trace = tracer.trace()?;
    let shown = trace.of(accepted[0].cookie);
    let owner = child.owner(&accepted[0], "accept");
    ensure!(shown.iter().any(|t| t.owner.as_ref() == Some(&owner)), "not shown under its owner {owner:?}: {shown:?}");
    Ok(())
}

/// Each process that is waited for is a descriptor.
fn more_processes_than_descriptors() -> Result<()> {
    let parent = Actor::start("ts-parent")?;
    let _children = (0..150).map(|_| parent.fork()).collect::<Result<Vec<_>>>()?;
    let launch = Launch { descriptors: Some(128), ..Launch::default() };
    Setup::new(["--pid", &parent.pid.to_string(), "--children"]).launch(launch).start()?.finish()?;
    Ok(())
}

/// `tcpstate trace | head -1`: the tracer ends quietly when it next has something to say.
fn reader_goes_away() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let (reader, writer) = io::pipe()?;
    let tracer = Setup::default().spawn_with_stdout(writer)?;
    let mut first = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut first)?;
    ensure!(first.contains("probes"), "the first line is `{first}`");
    drop(reader);
    let connection = pair.open()?;
    pair.client.reset(&connection.client)?;
    let ended = tracer.end()?;
    ensure!(ended.status.success(), "{}", ended.status);
    ensure!(!ended.stderr.contains("panicked") && !ended.stderr.contains("error"), "not quiet: {}", ended.stderr);
    Ok(())
}

fn reader_is_gone_before_the_start() -> Result<()> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let ended = Setup::default().spawn_with_stdout(writer)?.end()?;
    ensure!(ended.status.success(), "{}", ended.status);
    ensure!(!ended.stderr.contains("panicked") && !ended.stderr.contains("error"), "not quiet: {}", ended.stderr);
    Ok(())
}

/// Nobody is woken for a single event, and still nobody waits for it.
fn shown_within_100_ms() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let tracer = Tracer::start(["--pid", &pair.client.pid.to_string(), "--state", "SYN_SENT"])?;
    let listener = pair.listen()?;
    let began = clock::monotonic_ns();
    for count in 1..=20 {
        let socket = pair.client.connect(listener.local)?;
        tracer.wait_until("the connection", |shown| shown.len() >= 2 * count)?;
        pair.client.reset(&socket)?;
    }
    let read_at_ns = tracer.transcript.read_at_ns();
    let trace = tracer.finish()?;
    let mut delays: Vec<u64> =
        trace.transitions.iter().zip(&read_at_ns).map(|(transition, read)| read - transition.mono_ns).collect();
    delays.sort_unstable();
    let (median, longest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    // A machine with something else to do may keep a single line waiting, but not most of them.
    ensure!(median <= 100_000_000, "half of the lines came after {median} ns, one after {longest} ns");
    ensure!(clock::since_ns(began) < Duration::from_secs(10), "20 connections took {:?}", clock::since_ns(began));
    Ok(())
}
