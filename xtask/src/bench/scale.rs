//! What `leaks` costs by the number of sockets that are in CLOSE_WAIT: real ones, in as many processes as their limits of
//! descriptors ask for.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::{
    bpf::Held,
    children::{Load, Traced, memory},
    load::Kind,
    spread::Spread,
};
use crate::process::display;

/// Reports and snapshots come this often.
const INTERVAL: &str = "1s";
/// Time for some of them.
const WATCH: Duration = Duration::from_secs(5);

/// Sockets of one process; those with fewer privileges than usual cannot raise their limit of descriptors.
const EACH: u64 = 10_000;

/// What `leaks` costs with so many sockets.
#[derive(Debug, Serialize)]
pub(super) struct Scale {
    pub(super) sockets: u64,
    /// `leaks` ran while they came to be.
    pub(super) seen: Memory,
    /// `leaks` came later.
    pub(super) found: Memory,
    /// The sockets of before its start, once.
    pub(super) first_snapshot_ms: Option<Spread>,
    /// A snapshot with holders and queues.
    pub(super) snapshot_ms: Option<Spread>,
    /// A report: from what is known to what is written, threads looked at.
    pub(super) report_ms: Option<Spread>,
}

/// What `leaks` takes while nothing changes.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// Resident memory of its process, MiB.
    pub(super) rss_mib: f64,
    /// Kernel memory of all its maps, MiB.
    pub(super) maps_mib: f64,
    /// Kernel memory of the map of sockets, bytes for each of these sockets.
    pub(super) kernel_bytes_each: Option<f64>,
}

/// Measures for one number of sockets; 0 is an idle machine.
///
/// # Errors
///
/// `leaks` or the load cannot run.
pub(super) fn measure(binary: &Path, sockets: u64) -> Result<Scale> {
    eprintln!("    {sockets} sockets in CLOSE_WAIT");
    let directory = tempfile::tempdir()?;
    let program = without_debug_info(directory.path())?;
    let mut load = Load::of(&program, Kind::CloseWait, EACH.min(sockets))?;
    let others = (EACH..sockets).step_by(usize::try_from(EACH)?);
    let others = others.map(|begun| load.beside(&program, Kind::CloseWait, begun, EACH.min(sockets - begun)));
    let mut others = others.collect::<Result<Vec<_>>>()?;
    let before = leaks(binary, &load, &[])?;
    load.run()?;
    others.iter_mut().try_for_each(|load| load.run().map(drop))?;
    let seen = Memory::watch(before, sockets)?;
    let found = Memory::watch(leaks(binary, &load, &[])?, sockets)?;
    // What it says of times takes memory, so these are another run's.
    let mut timed = leaks(binary, &load, &["-vv"])?;
    thread::sleep(WATCH);
    let words = timed.words()?;
    timed.stop()?;
    Ok(Scale {
        sockets,
        seen,
        found,
        first_snapshot_ms: took(&words, "first snapshot"),
        snapshot_ms: took(&words, "snapshot"),
        report_ms: took(&words, "report"),
    })
}

/// A copy of this program as it would be installed: what `leaks` reads of a program's debug info counts among its memory, and is
/// a matter of that program.
fn without_debug_info(directory: &Path) -> Result<PathBuf> {
    let copy = directory.join("load");
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&copy).arg(std::env::current_exe()?);
    let status = strip.status().context("failed to run `strip` of binutils")?;
    ensure!(status.success(), "`{}` failed: {status}", display(&strip));
    Ok(copy)
}

/// Of the load only: others on this machine may leak, too.
fn leaks(binary: &Path, load: &Load, more: &[&str]) -> Result<Traced> {
    let mut command = Command::new(binary);
    command.env("NO_COLOR", "1").args(["leaks", "-o", "json", "--interval", INTERVAL, "--netns", &load.network()]);
    command.args(more);
    Traced::start(command, false).context("failed to start `tcpstate leaks`")
}

impl Memory {
    fn watch(traced: Traced, sockets: u64) -> Result<Self> {
        thread::sleep(WATCH);
        let mib = f64::from(1 << 20);
        let held = Held::by(traced.pid());
        let rss_mib = memory(traced.pid(), "VmRSS")? / mib;
        traced.stop()?;
        Ok(Self {
            rss_mib,
            maps_mib: held.maps as f64 / mib,
            kernel_bytes_each: (sockets > 0).then(|| held.largest_hash as f64 / sockets as f64),
        })
    }
}

/// The times that `tcpstate -vv` tells of: `DEBUG snapshot of 5 sockets took 1234 µs`. The last three of them, when all is
/// as it stays.
fn took(words: &str, what: &str) -> Option<Spread> {
    let times = words.lines().filter_map(|line| {
        let (_, rest) = line.split_once("DEBUG ")?;
        let (_, time) = rest.strip_prefix(what)?.strip_prefix(" of ")?.split_once(" took ")?;
        time.strip_suffix(" µs")?.parse::<f64>().ok()
    });
    let times: Vec<f64> = times.collect();
    Spread::of(times.into_iter().rev().take(3).map(|us| us / 1e3))
}

#[cfg(test)]
mod tests {
    use super::took;

    #[test]
    fn times_are_taken_from_the_log() {
        let log = "DEBUG first snapshot of 9 sockets took 700 µs\nDEBUG snapshot of 9 sockets took 3000 µs\nWARN x\n\
                   DEBUG snapshot of 9 sockets took 1000 µs\nDEBUG report of 1 groups took 90 µs\n";
        let median = |what| took(log, what).map(|spread| spread.median);
        assert_eq!(median("first snapshot"), Some(0.7));
        assert_eq!(median("snapshot"), Some(2.0));
        assert_eq!(median("report"), Some(0.09));
        assert_eq!(median("dream"), None);
    }
}
