//! `tcpstate leaks` on bad days and good ones: losses, formats, options, errors, and facts that change.

mod callers;
mod changes;
mod closing;
mod crowded;
mod errors;
mod executed;
mod flame;
mod late;
mod losses;
mod options;
mod rings;
mod scene;
mod text;

use anyhow::Result;
use libtest_mimic::Trial;

use crate::{scenarios::leaks::hunt::Hunt, support::launch::Launch};

pub(crate) fn trials() -> Vec<Trial> {
    [
        callers::trials(),
        changes::trials(),
        closing::trials(),
        crowded::trials(),
        errors::trials(),
        executed::trials(),
        flame::trials(),
        late::trials(),
        losses::trials(),
        options::trials(),
        rings::trials(),
        text::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Builds what these tests run.
pub(crate) fn build() -> Result<()> {
    callers::program()?;
    crowded::program()?;
    executed::programs()?;
    rings::program().map(drop)
}

/// `tcpstate leaks` with these arguments.
fn spawn(arguments: &[&str]) -> Result<Hunt> {
    Hunt::spawn(&Launch::default(), &owned(arguments))
}

/// The same as JSON, five times a second; attached when this returns.
pub(crate) fn json(arguments: &[&str]) -> Result<Hunt> {
    let hunt = spawn(&[&["-o", "json", "--interval", "200ms"], arguments].concat())?;
    hunt.wait_until("the first report", |_| Ok(()))?;
    Ok(hunt)
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}
