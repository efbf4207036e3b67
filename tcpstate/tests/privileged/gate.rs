//! `tcpstate run` with commands of which it is known how many sockets they leak.

mod command;
mod leaks;
mod passing;
mod suites;
mod terminal;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [suites::trials(), leaks::trials(), passing::trials(), terminal::trials()].into_iter().flatten().collect()
}
