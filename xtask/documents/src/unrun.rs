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
        text: "cargo test -p tcpstate-core -p tcpstate-stacks -p tcpstate-recording -p tcpstate-outfile",
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
    Unrun { text: "cargo test -p tcpstate-fuzzing", reason: "is among the unit tests itself" },
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
        text: "sudo install -m 644 packaging/tcpstate-record.service /etc/systemd/system/",
        reason: "changes the system; the unit's capabilities are what a test starts `record` with",
    },
    Unrun {
        text: "sudo systemctl enable --now tcpstate-record",
        reason: "changes the system, which has to run systemd",
    },
    Unrun {
        text: "docker run --rm --pid host --cgroupns host --network none --read-only --cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH --cap-add CHECKPOINT_RESTORE --cap-add SETUID --cap-add SETGID --cap-add SETPCAP --cap-add SYS_CHROOT --cap-add KILL --cap-add SYS_RESOURCE --security-opt no-new-privileges --security-opt apparmor=unconfined --volume /usr/local/bin/tcpstate:/tcpstate:ro debian:stable-slim /tcpstate leaks",
        reason: "takes a running Docker; a test starts `leaks` with its capabilities",
    },
    Unrun {
        text: "for i in 1 2 3; do echo job | nc -N 127.0.0.1 40229; done; ss -tanp state close-wait",
        reason: "talks to the program of the line before, at the port that it happened to get",
    },
];
