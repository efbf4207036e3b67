//! A stack that goes on where its copy of the usual size ends.

use std::{path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        expected::plain_name,
        program::Program,
    },
    support::run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::deep"; taken_again]
}

/// Opens connections below a large frame.
pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/deep.c", &[NO_FRAME_POINTERS])
}

/// How many it opens.
const SOCKETS: usize = 3;

/// The place of the later ones has a whole stack.
fn taken_again() -> Result<()> {
    let mut program = Program::start(&program()?, &[] as &[&str])?;
    program.said("READY")?;
    let hunt = super::json(&["--older-than", "1ms", "--pid", &program.pid.to_string()])?;
    let mut sockets = 0;
    let mut open = |program: &mut Program| -> Result<()> {
        program.tell("one")?;
        program.said("OPENED")?;
        sockets += 1;
        Ok(())
    };
    open(&mut program)?;
    hunt.wait_until("a stack that is cut", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("{:?}", report.groups) };
        let stack = group.opened.stack.as_ref().context("no stack")?;
        ensure!(
            stack.truncated.as_deref().is_some_and(|why| why.starts_with("the copy of the stack ended")),
            "{stack:?}"
        );
        Ok(())
    })?;
    for _ in 1..SOCKETS {
        open(&mut program)?;
        sleep(Duration::from_millis(300));
    }
    // The first one was met before it was known where the program has its code, and is another place.
    hunt.wait_until("the whole stack", |report| {
        let groups: Vec<_> = report.groups.iter().filter(|group| group.sockets == SOCKETS - 1).collect();
        let [group] = groups[..] else { anyhow::bail!("{:?}", report.groups) };
        let stack = group.opened.stack.as_ref().context("no stack")?;
        ensure!(stack.truncated.is_none(), "{stack:?}");
        let names: Vec<_> = stack.frames.iter().filter_map(|frame| frame.function.as_deref()).map(plain_name).collect();
        let own = ["open_one", "with_buffers", "serve_request", "main"];
        ensure!(own.iter().all(|name| names.contains(name)), "{names:?}");
        Ok(())
    })?;
    hunt.finish().map(drop)
}
