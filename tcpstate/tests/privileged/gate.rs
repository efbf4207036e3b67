//! `tcpstate run` with commands of which it is known how many sockets they leak.

mod command;
mod leaks;
mod passing;
mod suites;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [suites::trials(), leaks::trials(), passing::trials()].into_iter().flatten().collect()
}
