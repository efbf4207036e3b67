//! Programs that are run, and who runs them.

use std::path::Path;

/// A program that is run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Its name, or the path of something that is no command.
    pub(crate) command: &'static str,
    /// Debian's package.
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
}

/// The HTTP client of the distribution's own Python.
const REQUESTS: &str = "/usr/lib/python3/dist-packages/requests/__init__.py";

/// The test runner of the same Python.
const PYTEST: &str = "/usr/lib/python3/dist-packages/pytest/__init__.py";

impl Tool {
    pub(crate) fn is_missing(&self) -> bool {
        let path = Path::new(self.command);
        if path.is_absolute() { !path.is_file() } else { which::which(path).is_err() }
    }
}

/// What the tests run.
const TESTS: &[Tool] = &[
    Tool { command: "gcc", package: "gcc", why: "compiles the C programs that the tests look at" },
    Tool { command: "g++", package: "g++", why: "compiles the C++ programs that the tests look at" },
    Tool { command: "objcopy", package: "binutils", why: "takes unwind tables out of programs of the tests" },
    Tool { command: "go", package: "golang-go", why: "compiles the Go program that the tests look at" },
    Tool {
        command: REQUESTS,
        package: "python3-requests",
        why: "is what a Python program that the tests look at uses",
    },
    Tool { command: PYTEST, package: "python3-pytest", why: "runs the Python tests that the tests look at" },
    Tool { command: "musl-gcc", package: "musl-tools", why: "compiles programs for another C library" },
    Tool { command: "nc", package: "netcat-openbsd", why: "closes its connections half, as the tests want it" },
    Tool { command: "node", package: "nodejs", why: "runs the JavaScript that the tests look at" },
    Tool { command: "ip", package: "iproute2", why: "makes the network namespaces of the tests" },
    Tool { command: "ss", package: "iproute2", why: "tells the tests what the kernel knows of a socket" },
    Tool { command: "strace", package: "strace", why: "tells the tests what the tracer opens" },
    Tool { command: "sysctl", package: "procps", why: "turns on MPTCP in namespaces of the tests" },
    Tool { command: "unshare", package: "util-linux", why: "makes the containers of the tests" },
    Tool { command: "nsenter", package: "util-linux", why: "enters the namespaces of the tests" },
];

/// What the guests of `cargo xtask vm` need on the host.
const GUESTS: &[Tool] = &[
    Tool { command: "ip", package: "iproute2", why: "takes up the network of the guests" },
    Tool { command: "dpkg-deb", package: "dpkg", why: "unpacks the kernels of the guests" },
    Tool { command: "/sbin/depmod", package: "kmod", why: "tells in which order guests load modules" },
    Tool {
        command: "/usr/share/keyrings/debian-archive-keyring.gpg",
        package: "debian-archive-keyring",
        why: "verifies the kernels of the guests",
    },
];

/// What is measured beside `tcpstate`, and what measuring takes.
const BENCH: &[Tool] = &[
    Tool { command: "/usr/sbin/tcpstates", package: "libbpf-tools", why: "is measured beside tcpstate" },
    Tool { command: "/usr/sbin/tcplife", package: "libbpf-tools", why: "is measured beside tcpstate" },
    Tool { command: "bpftrace", package: "bpftrace", why: "is measured beside tcpstate" },
    Tool { command: "ip", package: "iproute2", why: "makes the networks that are measured in" },
];

/// Every program that anything here runs.
pub(crate) fn all() -> impl Iterator<Item = &'static Tool> {
    Scope { tests: true, guests: true, bench: true }.tools()
}

/// What somebody is about to do besides building, which decides what must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Lint and test.
    pub(crate) tests: bool,
    /// Boot guests.
    pub(crate) guests: bool,
    /// Measure.
    pub(crate) bench: bool,
}

impl Scope {
    pub(crate) const BUILD: Self = Self { tests: false, guests: false, bench: false };
    pub(crate) const TESTS: Self = Self { tests: true, ..Self::BUILD };
    pub(crate) const GUESTS: Self = Self { guests: true, ..Self::BUILD };
    pub(crate) const BENCH: Self = Self { bench: true, ..Self::BUILD };

    pub(crate) fn tools(self) -> impl Iterator<Item = &'static Tool> {
        let tests = if self.tests { TESTS } else { &[] };
        let guests = if self.guests { GUESTS } else { &[] };
        let bench = if self.bench { BENCH } else { &[] };
        let besides = move |tool: &&Tool| !tests.iter().any(|other| other.command == tool.command);
        tests.iter().chain(guests.iter().chain(bench).filter(besides))
    }
}
