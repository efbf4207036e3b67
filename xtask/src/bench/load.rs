//! The load that tracers are measured under, in a process and a network namespace of its own. `cargo xtask bench` starts it.
//!
//! It says `ready`, begins when it is told so, says how it went in one line, and stays until its standard input ends.

mod accept;
mod churn;
mod close_wait;
mod receive;

use std::{
    fs::File,
    io::{self, BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::{AsFd as _, OwnedFd},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket},
    process::{Signal, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use serde::{Deserialize, Serialize};

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Connections that one thread opens and another accepts, one after another; the one that connected closes first
    Churn,
    /// Connections that wait in the backlog by hundreds, are accepted in a row and reset
    Accept,
    /// One connection, and many small receives
    Receive,
    /// Connections whose opener closes and whose acceptor does not
    CloseWait,
}

impl Kind {
    /// Transitions of one operation.
    pub(crate) const fn transitions(self) -> u64 {
        match self {
            // Both ends: two to open, the first to close three, the second three.
            Self::Churn => 10,
            // Both ends: two to open, one to be reset.
            Self::Accept => 6,
            Self::Receive => 0,
            Self::CloseWait => 8,
        }
    }
}

/// Which load, and where.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// Connections or receives
    pub(crate) count: u64,
    /// Number of the first connection: its address and port follow from it
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
    /// In the network namespace of this process instead of one of its own
    #[arg(long, value_name = "PID")]
    pub(crate) beside: Option<u32>,
}

/// How a load went.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// Connections or receives.
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
}

/// However long it takes, it ends after this.
const LIMIT: Duration = Duration::from_secs(300);

/// Source addresses, so that ports don't run out while TIME_WAIT holds them.
const SOURCES: u64 = 250;
/// Ports of each.
const PORTS: u64 = 50_000;
const FIRST_PORT: u64 = 10_000;

/// Runs a load.
///
/// # Errors
///
/// The namespace or a socket could not be made.
pub(crate) fn task(options: &Options) -> Result<()> {
    let Options { kind, count, first, beside } = *options;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("xtask: the load is not done after {} s: a machine this slow needs `--quick`", LIMIT.as_secs());
        process::exit(1);
    });
    ensure!(first + count <= SOURCES * PORTS, "too many operations for one load: at most {}", SOURCES * PORTS);
    network(beside).context("failed to enter a network namespace: be root")?;

    let mut prepared: Box<dyn FnMut() -> Result<()>> = match kind {
        Kind::Churn => Box::new(churn::prepare(count)?),
        Kind::Accept => Box::new(accept::prepare(count)?),
        Kind::Receive => Box::new(receive::prepare(count)?),
        Kind::CloseWait => Box::new(close_wait::prepare(first, count)?),
    };
    say("ready")?;
    let mut word = String::new();
    io::stdin().lock().read_line(&mut word)?;
    if word.is_empty() {
        return Ok(());
    }
    let start = Instant::now();
    prepared()?;
    let outcome = Outcome { operations: count, seconds: start.elapsed().as_secs_f64() };
    say(&serde_json::to_string(&outcome)?)?;
    // What it has opened stays open until nobody wants it any more.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

/// Goes where nobody else's ports are.
fn network(beside: Option<u32>) -> Result<()> {
    if let Some(pid) = beside {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        return Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?);
    }
    // SAFETY: no descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("failed to run `ip`")?;
    ensure!(status.success(), "`ip link set lo up` failed: {status}");
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A listener on loopback.
fn listen() -> Result<(TcpListener, SocketAddrV4)> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&fd, 4096)?;
    let listener = TcpListener::from(fd);
    let std::net::SocketAddr::V4(address) = listener.local_addr()? else { anyhow::bail!("not an IPv4 address") };
    Ok((listener, address))
}

/// The `n`th connection, from an address and port that no other has.
fn open(n: u64, to: SocketAddrV4) -> Result<OwnedFd> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let [.., source] = (n % SOURCES + 1).to_be_bytes();
    let port = FIRST_PORT + n / SOURCES % PORTS;
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 1, 0, source), u16::try_from(port)?);
    bind(&fd, &from).with_context(|| format!("failed to bind to {from}"))?;
    connect(&fd, &to).with_context(|| format!("failed to connect from {from}"))?;
    Ok(fd)
}

/// Waits until the other side closes.
fn wait_for_end(fd: &OwnedFd) -> Result<()> {
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut byte))? != 0 {}
    Ok(())
}
