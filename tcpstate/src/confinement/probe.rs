//! What of a worker's confinement can be had here, found out by a process that confines itself like one.

use std::{
    io::Read as _,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{confined::Confined, worker::worker};

/// Name by which this program knows that it is this process.
pub const ENTRY: &str = "tcpstate: confinement";

/// The program that runs, whatever became of its name.
const SELF: &str = "/proc/self/exe";

/// Asks.
///
/// # Errors
///
/// Where no such process can be started, or it cannot confine itself.
pub fn probe() -> Result<Confined> {
    let (mut ours, its) = UnixStream::pair().context("failed to make a channel")?;
    let mut command = Command::new(SELF);
    command.arg0(ENTRY).env_clear();
    // The channel is its standard input, the one descriptor that `Command` hands over as what it is.
    command.stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().context("failed to start a process to confine")?;
    drop(command);
    let mut bits = [0];
    let answered = ours.read_exact(&mut bits);
    let ended = child.wait_with_output().context("failed to wait for a process to confine")?;
    if answered.is_err() {
        bail!("it cannot confine itself ({}): {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(Confined::from_bits(bits[0]))
}

/// Answers, as that process.
#[must_use]
pub fn answer() -> ExitCode {
    let channel = rustix::stdio::stdin();
    let answered = worker(channel).and_then(|confined| {
        rustix::io::write(channel.as_fd(), &[confined.to_bits()]).context("failed to answer").map(drop)
    });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
