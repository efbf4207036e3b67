//! What `io_uring` completes while the program does something else: that is not shown as the code that accepted or was told.

use std::{net::TcpStream, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        peers::localhost,
        program::Program,
    },
    support::run::trials,
};

const SOCKETS: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::rings"; interrupted]
}

pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/ring.c", &[NO_FRAME_POINTERS])
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
