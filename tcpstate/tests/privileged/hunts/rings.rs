//! Sockets that `io_uring` accepts: whose they are, and where they were accepted. What it completes while the program does something
//! else is not shown as the code that accepted or was told.

use std::{
    net::TcpStream,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        peers::localhost,
        program::Program,
    },
    states::report::look,
    support::{
        run::trials,
        tracer::{PATIENCE, Tracer},
    },
};

const SOCKETS: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::rings"; interrupted, waiting, multishot, without_descriptors]
}

pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/ring.c", &[NO_FRAME_POINTERS])
}

/// What a program waits for is accepted where it waits, whatever hooks the kernel has.
fn waiting() -> Result<()> {
    accepted("waiting")
}

/// The same with one request for all accepts, of which completions do not tell.
fn multishot() -> Result<()> {
    accepted("multishot")
}

fn accepted(mode: &str) -> Result<()> {
    let program = Program::start(&program()?, &[mode])?;
    let port = program.port()?;
    let filter = ["--lport", &port.to_string()];
    let tracer = Tracer::start(filter)?;
    let hunt = super::json(&[&["--older-than", "50ms"], &filter[..]].concat())?;
    for _ in 0..SOCKETS {
        let peer = TcpStream::connect(localhost(port))?;
        sleep(Duration::from_millis(70));
        drop(peer);
    }
    hunt.wait_until("the sockets and who accepted them", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.sockets == SOCKETS && group.verdict == "eof-read", "{group:?}");
        ensure!(group.opened.known == "seen", "{:?}", group.opened);
        ensure!(group.opened.by.as_ref().is_some_and(|by| by.pid == program.pid), "{:?}", group.opened);
        let stack = group.opened.stack.as_ref().context("no stack")?;
        let waits = stack.frames.iter().any(|frame| frame.function.as_deref() == Some("wait_for_one"));
        ensure!(waits, "not where it waits: {stack:?}");
        Ok(())
    })?;
    hunt.finish()?;
    let trace = tracer.finish()?;
    let left = trace.transitions.iter().filter(|t| t.is("ESTABLISHED", "CLOSE_WAIT"));
    let owners: Vec<_> = left.map(|t| t.owner.as_ref().map(|owner| (owner.pid, owner.via.as_str()))).collect();
    ensure!(owners == vec![Some((program.pid, "accept")); SOCKETS], "{owners:?}");
    Ok(())
}

/// Sockets that only the ring has are the process's: `states` finds them there.
fn without_descriptors() -> Result<()> {
    let program = Program::start(&program()?, &["fixed"])?;
    let port = program.port()?.to_string();
    let peers = (0..SOCKETS).map(|_| Ok(TcpStream::connect(localhost(port.parse()?))?)).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let states = look(&["--by", "process", "--lport", &port, "--state", "established"])?;
        let groups = states["groups"].as_array().context("no groups")?;
        let found = groups.iter().find(|group| group["key"]["pid"] == program.pid);
        if found.is_some_and(|group| group["sockets"] == SOCKETS) {
            break;
        }
        ensure!(Instant::now() < deadline, "not with the ring's process: {states}");
        sleep(Duration::from_millis(50));
    }
    drop(peers);
    Ok(())
}

fn interrupted() -> Result<()> {
    let program = Program::start(&program()?, &[] as &[&str])?;
    let port = program.port()?;
    let hunt = super::json(&["--older-than", "50ms", "--lport", &port.to_string()])?;
    for _ in 0..SOCKETS {
        let peer = TcpStream::connect(localhost(port))?;
        // The receive waits already when the end comes, in the middle of a nap.
        sleep(Duration::from_millis(70));
        drop(peer);
    }
    hunt.wait_until("the sockets of the ring", |report| {
        let read = report.groups.iter().filter(|group| group.verdict == "eof-read" || group.verdict == "fin-consumed");
        let sockets: usize = read.clone().map(|group| group.sockets).sum();
        ensure!(sockets == SOCKETS, "{sockets} of {SOCKETS}: {:?}", report.groups);
        let opened = read.clone().filter_map(|group| group.opened.stack.as_ref());
        let told = read.flat_map(|group| group.told.iter().filter_map(|told| told.stack.as_ref()));
        for stack in opened.chain(told) {
            let computes = stack.frames.iter().any(|frame| frame.function.as_deref() == Some("compute"));
            ensure!(!computes, "`compute` has nothing to do with it: {stack:?}");
        }
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}
