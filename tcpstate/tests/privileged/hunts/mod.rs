//! `tcpstate leaks` on bad days and good ones: losses, formats, options, errors, and facts that change.

mod awake;
mod callers;
mod changes;
mod closing;
mod crowded;
mod deep;
mod errors;
mod executed;
mod farewell;
mod flame;
mod half_closed;
mod kept_away;
mod late;
mod losses;
mod options;
mod python;
mod rings;
mod scene;
mod soak;
mod text;

use anyhow::Result;
use libtest_mimic::Trial;

use crate::{scenarios::leaks::hunt::Hunt, support::launch::Launch};

pub(crate) fn trials() -> Vec<Trial> {
    [
        awake::trials(),
        callers::trials(),
        deep::trials(),
        changes::trials(),
        closing::trials(),
        crowded::trials(),
        errors::trials(),
        executed::trials(),
        farewell::trials(),
        half_closed::trials(),
        kept_away::trials(),
        flame::trials(),
        late::trials(),
        losses::trials(),
        options::trials(),
        python::trials(),
        rings::trials(),
        soak::trials(),
        text::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Builds what these tests run.
pub(crate) fn build() -> Result<()> {
    awake::program()?;
    callers::program()?;
    deep::program()?;
    crowded::program()?;
    executed::programs()?;
    rings::program()?;
    soak::program().map(drop)
}

/// `tcpstate leaks` with these arguments.
pub(crate) fn spawn(arguments: &[&str]) -> Result<Hunt> {
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
