//! Time spent in `CLOSE_WAIT`: the tracer's figures against the program's own clock.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    clock,
    event::Transition,
    pair::Setting,
    process::Actor,
    protocol::Held,
    run::trials,
    ss,
    tracer::{Setup, Trace},
};

/// How long each group is held; its sockets are closed one after the other.
const HOLD_MS: [u64; 4] = [50, 100, 200, 400];
const PER_GROUP: usize = 50;
/// How far the tracer may be from the program's clock.
const TOLERANCE_NS: u64 = 2_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["dwell"; two_hundred_closes, leaks_that_stay, a_handshake_waits_elsewhere]
}

/// Sockets that leak.
const LEAKED: usize = 7;

/// A trace of a leak shows what has not ended: as many as `ss` lists, for as long as the program knows.
fn leaks_that_stay() -> Result<()> {
    let pair = Setting::Ipv4.pair()?;
    let listener = pair.listen()?;
    let port = listener.local.port().to_string();
    let filters = [&["--lport", &port][..], &["--lport", &port, "--state", "close-wait"]];
    let tracers = Setup::start_all(filters.map(Setup::new))?;
    let mut leaked = Vec::new();
    let began = clock::monotonic_ns();
    for _ in 0..LEAKED {
        let peer = pair.client.connect(listener.local)?;
        let socket = pair.server.accept(&listener)?;
        pair.client.close(&peer)?;
        pair.server.await_hangup(&socket)?;
        leaked.push(socket);
    }
    // One that does not stay.
    let closed = leaked.pop().context("none leaked")?;
    pair.server.close(&closed)?;
    let entered = clock::monotonic_ns();
    let listed = ss::with_local_port(listener.local.port())?;
    let listed = listed.iter().filter(|socket| socket.state == "CLOSE_WAIT").count();
    ensure!(listed == leaked.len(), "{listed} in CLOSE_WAIT as `ss` says");
    let cookies: Vec<u64> = leaked.iter().map(|socket| socket.cookie).collect();
    for (with_states, tracer) in [false, true].into_iter().zip(tracers) {
        tracer.wait_entered("CLOSE_WAIT", &cookies)?;
        tracer.wait_entered("LAST_ACK", &[closed.cookie])?;
        if !with_states {
            tracer.wait_closed(&[closed.cookie])?;
        }
        sleep(Duration::from_millis(200));
        let least = clock::monotonic_ns() - entered;
        let trace = tracer.finish()?;
        let most = clock::monotonic_ns() - began;
        let row = trace.dwell("CLOSE_WAIT")?;
        ensure!((row.open, row.count) == (listed as u64, 1), "{row:?}");
        ensure!(row.open_max_ns.is_some_and(|ns| (least..=most).contains(&ns)), "{least} to {most} ns: {row:?}");
        // The listener still listens; what has come to CLOSE is over, and of what `--state` hides nobody knows whether it is.
        let open: Vec<_> =
            trace.summary.dwell.iter().filter(|row| row.open > 0).map(|row| row.state.as_str()).collect();
        ensure!(open == ["CLOSE_WAIT"], "{open:?}");
        let words = format!("and {listed} not seen to end, the longest ≥ ");
        ensure!(trace.stderr.contains(&words), "no `{words}` in {}", trace.stderr);
    }
    Ok(())
}

/// While the last acknowledgement is awaited there is only a request: the socket comes after it, and knows nothing of that time.
fn a_handshake_waits_elsewhere() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // An acknowledgement without data does not end the handshake.
    let seconds: libc::c_int = 5;
    // SAFETY: the descriptor is open, and the value as long as it is said to be.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    ensure!(result == 0, "TCP_DEFER_ACCEPT: {}", std::io::Error::last_os_error());
    let address = listener.local_addr()?;
    let tracer = Setup::new(["--lport", &address.port().to_string()]).start()?;
    let mut client = TcpStream::connect(address)?;
    sleep(Duration::from_millis(300));
    let listed = ss::with_local_port(address.port())?;
    let waiting = listed.iter().filter(|socket| socket.state == "SYN_RECV").count();
    ensure!(waiting == 1, "`ss` shows no handshake that waits: {listed:?}");
    client.write_all(b"data")?;
    drop(listener.accept()?);
    tracer.wait_until("the end of the handshake", |shown| shown.iter().any(|t| t.is("SYN_RECV", "ESTABLISHED")))?;
    let trace = tracer.finish()?;
    let passed: Vec<_> = trace.transitions.iter().filter(|t| t.old == "SYN_RECV").collect();
    ensure!(passed.len() == 1, "{passed:?}");
    ensure!((passed[0].in_old_ns, passed[0].in_old_at_least_ns) == (None, None), "{:?}", passed[0]);
    ensure!(trace.dwell("SYN_RECV").is_err(), "{:?}", trace.summary.dwell);
    Ok(())
}

/// A tracer for each group, so that each summary has one group's histogram.
fn two_hundred_closes() -> Result<()> {
    let program = Actor::start("ts-holder")?;
    let listeners = (0..HOLD_MS.len()).map(|_| program.listen((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>>>()?;
    let setups = listeners.iter().map(|listener| Setup::new(["--lport", &listener.local.port().to_string()]));
    let tracers = Setup::start_all(setups)?;
    let held = program.hold_close_wait(&listeners, &HOLD_MS, PER_GROUP)?;
    ensure!(held.len() == HOLD_MS.len() * PER_GROUP, "{} were held", held.len());
    for (group, tracer) in tracers.into_iter().enumerate() {
        let held: Vec<&Held> = held.iter().filter(|held| held.group == group).collect();
        tracer.wait_closed(&held.iter().map(|held| held.cookie).collect::<Vec<_>>())?;
        check_group(&tracer.finish()?, &held).with_context(|| format!("held {} ms", HOLD_MS[group]))?;
    }
    Ok(())
}

fn check_group(trace: &Trace, held: &[&Held]) -> Result<()> {
    let mut shown_ns = Vec::new();
    for held in held {
        shown_ns.push(check_socket(trace, held)?);
    }
    let mut own_ns: Vec<u64> = held.iter().map(|held| held.own_measure_ns()).collect();
    let (shown, own) = (median(&mut shown_ns), median(&mut own_ns));
    ensure!(shown.abs_diff(own) <= TOLERANCE_NS, "median: {shown} ns shown, {own} ns by the program");
    let row = trace.dwell("CLOSE_WAIT")?;
    ensure!(row.count == held.len() as u64 && row.at_least == 0, "{row:?}");
    let histogram = row.p50_ns.context("no median in the summary")?;
    ensure!(histogram.abs_diff(own) <= TOLERANCE_NS, "median: {histogram} ns in the summary, {own} ns by the program");
    let longest = shown_ns.last().copied().context("nothing was held")?;
    let (p90, p99, max) = (row.p90_ns, row.p99_ns, row.max_ns);
    ensure!(max.is_some_and(|max| max.abs_diff(longest) <= TOLERANCE_NS), "{row:?}, longest shown {longest} ns");
    ensure!(p90 >= row.p50_ns && p99 >= p90 && max >= p99, "{row:?}");
    Ok(())
}

/// Both ends of the stay lie within what the program bracketed them with, so no load can make this fail; what is left
/// between the brackets and the program's own figure is how long the scheduler kept it waiting.
fn check_socket(trace: &Trace, held: &Held) -> Result<u64> {
    let shown = trace.of(held.cookie);
    let find = |old, new| -> Result<&Transition> {
        let found = shown.iter().find(|transition| transition.is(old, new));
        found.copied().with_context(|| format!("no {old}→{new} of {:x}", held.cookie))
    };
    let (entered, left) = (find("ESTABLISHED", "CLOSE_WAIT")?, find("CLOSE_WAIT", "LAST_ACK")?);
    ensure!(held.fin.contains(entered.mono_ns), "entered outside of {:?}: {entered}", held.fin);
    ensure!(held.close.contains(left.mono_ns), "left outside of {:?}: {left}", held.close);
    let stayed = left.in_old_ns.with_context(|| format!("no time at {left}"))?;
    ensure!(stayed == left.mono_ns - entered.mono_ns, "{stayed} ns between {entered} and {left}");
    let uncertain = (held.fin.to_ns - held.fin.from_ns) + (held.close.to_ns - held.close.from_ns);
    let own = held.own_measure_ns();
    ensure!(stayed.abs_diff(own) <= TOLERANCE_NS.max(uncertain), "{stayed} ns shown, {own} ns by the program");
    Ok(stayed)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}
