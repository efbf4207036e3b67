//! `tcpstate run` with commands of which it is known how many sockets they leak.

mod command;
mod leaks;
mod passing;
mod suites;
mod terminal;

pub(crate) use command::leaky;

use anyhow::Result;
use libtest_mimic::Trial;

/// Builds what these tests run.
pub(crate) fn build() -> Result<()> {
    leaky()?;
    suites::rust_tests().map(drop)
}

pub(crate) fn trials() -> Vec<Trial> {
    [suites::trials(), leaks::trials(), passing::trials(), terminal::trials()].into_iter().flatten().collect()
}
