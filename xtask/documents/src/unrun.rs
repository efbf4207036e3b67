//! What documents show and no test runs.

/// A command that no test runs.
#[derive(Clone, Copy, Debug)]
pub struct Unrun {
    /// As [`Shown::text`](crate::Shown::text) has it.
    pub text: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All of them. One that no document shows any more is a failure.
pub const UNRUN: &[Unrun] = &[
    Unrun { text: "make server suite", reason: "stands for the build of the reader's own project" },
    Unrun {
        text: "cargo test -p tcpstate-core -p tcpstate-stacks -p tcpstate-recording",
        reason: "is a part of the tests themselves; its names are checked",
    },
    Unrun {
        text: "UPDATE_GOLDEN=1 cargo test -p tcpstate --test output",
        reason: "changes the files that tests compare with; its names are checked",
    },
    Unrun {
        text: "cargo +nightly fuzz run --fuzz-dir tcpstate/fuzz recording",
        reason: "takes a nightly compiler and cargo-fuzz, and has no end",
    },
    Unrun {
        text: "cargo bench -p tcpstate-core --bench decode",
        reason: "measures for minutes; its names are checked",
    },
    Unrun { text: "cargo bench -p tcpstate-core --bench leaks", reason: "measures for minutes; its names are checked" },
    Unrun { text: "cargo bench -p tcpstate --bench render", reason: "measures for minutes; its names are checked" },
    Unrun {
        text: "gcc -D_GNU_SOURCE -O2 -fomit-frame-pointer -pthread -o /tmp/workers c/workers.c && /tmp/workers 127.0.0.1",
        reason: "serves until it is killed; the scenarios build and run the same program",
    },
    Unrun {
        text: "for i in 1 2 3; do echo job | nc -N 127.0.0.1 40229; done; ss -tanp state close-wait",
        reason: "talks to the program of the line before, at the port that it happened to get",
    },
];
