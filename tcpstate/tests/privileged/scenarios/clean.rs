//! Programs that do not leak: nothing of theirs may be called a leak.

use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    compile::{self, NO_FRAME_POINTERS},
    expected::{Expected, Stack, Verdict},
    peers::{half_close, visit, visit_often},
    program::{Program, installed},
    running::{MeasuredStay, Running, Scenario},
};
use crate::support::{clock, protocol::Span};

pub(crate) const SCENARIOS: [Scenario; 4] = [CHURN, HALF_CLOSE, HALF_CLOSE_SILENT, SLOW_CLOSE];

/// Many short connections, each closed as soon as its peer has.
const CHURN: Scenario = Scenario {
    name: "churn",
    expected: Expected { closed: 1500, ..Expected::NO_LEAK },
    start: || {
        let program = Program::start(&compile::c("c/churn.c", &[NO_FRAME_POINTERS])?, &["127.0.0.1"])?;
        Running::server(program, |_, server| visit_often(server, 1500, b"ping", 4))
    },
};

/// Half-closed connections in use: the server goes on sending. Half of the clients are `nc -N`.
const HALF_CLOSE: Scenario = Scenario {
    name: "half_close",
    expected: Expected {
        in_use: 8,
        verdicts: &[Verdict::Sending],
        opened: Some(Stack::of(&["legit_accept", "main"])),
        told: Some(Stack::of(&["read_all", "legit_main"])),
        ..Expected::NO_LEAK
    },
    start: || half_closed("400", "250"),
};

/// The same with a server that takes its time: nothing is sent, but the clients wait.
const HALF_CLOSE_SILENT: Scenario = Scenario {
    name: "half_close_silent",
    expected: Expected { verdicts: &[Verdict::Awaited], ..HALF_CLOSE.expected },
    start: || half_closed("1", "120000"),
};

fn half_closed(pieces: &str, pause_ms: &str) -> Result<Running> {
    let server = compile::c("c/half_close.c", &[NO_FRAME_POINTERS])?;
    let program = Program::start(&server, &["127.0.0.1", pieces, pause_ms])?;
    Running::server(program, |scene, server| {
        for _ in 0..4 {
            scene.peers.push(half_close(server, b"request")?);
            scene.kept.push(Box::new(Netcat::request(server)?));
        }
        Ok(())
    })
}

/// 200 connections held for 50, 100, 200 and 400 ms, and then closed.
const SLOW_CLOSE: Scenario = Scenario {
    name: "slow_close",
    expected: Expected { held: &[(50, 50), (100, 50), (200, 50), (400, 50)], ..Expected::NO_LEAK },
    start: || {
        let program = Program::start(&compile::c("c/slow_close.c", &[NO_FRAME_POINTERS])?, &["127.0.0.1"])?;
        Running::server(program, |scene, server| {
            let mut hangups = HashMap::new();
            for _ in 0..50 {
                for (ms, _) in SLOW_CLOSE.expected.held {
                    let client = visit(server, format!("{ms:08}").as_bytes(), 0)?;
                    hangups.insert(client.local_addr()?.port(), clock::monotonic_ns());
                    drop(client);
                    // A burst would measure how many threads can wake at once.
                    thread::sleep(Duration::from_millis(1));
                }
            }
            for _ in 0..hangups.len() {
                scene.stays.push(measured_stay(&scene.program.said("CLOSED")?, &hangups)?);
            }
            Ok(())
        })
    },
};

/// `hangups`: by port, when each client was about to close.
fn measured_stay(said: &str, hangups: &HashMap<u16, u64>) -> Result<MeasuredStay> {
    let numbers: Vec<u64> = said.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [asked_ms, seen, before, after, port] = numbers[..] else { bail!("`CLOSED {said}`") };
    let peer_port = u16::try_from(port)?;
    let hangup = *hangups.get(&peer_port).with_context(|| format!("no client with port {port}"))?;
    Ok(MeasuredStay {
        peer_port,
        asked_ms,
        fin: Span { from_ns: hangup, to_ns: seen },
        close: Span { from_ns: before, to_ns: after },
    })
}

/// `nc -N`: sends a request, ends its direction and waits for the answer.
struct Netcat(Child);

impl Netcat {
    fn request(server: SocketAddr) -> Result<Self> {
        let mut nc = Command::new(installed("nc")?);
        nc.arg("-N")
            .args([server.ip().to_string(), server.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut nc = Self(nc.spawn().context("`nc`")?);
        let mut input = nc.0.stdin.take().context("stdin of `nc`")?;
        input.write_all(b"request")?;
        Ok(nc)
    }
}

impl Drop for Netcat {
    fn drop(&mut self) {
        // It ends by itself when the server does; then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
