//! What `leaks` and `record` keep while everything that they are told of is ever new: places, code, threads, processes, peers, ports.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::children::{Running, Traced, memory};
use crate::{cargo, process::display};

/// Sockets a second, each from a place of its own.
const RATE: u32 = 300;
/// For so long; `--quick` for a minute.
const LONG: Duration = Duration::from_secs(15 * 60);
const QUICK: Duration = Duration::from_secs(60);
/// Readings of memory.
const READINGS: u32 = 180;
/// Rows of the table.
const ROWS: usize = 15;
/// Columns of the bars in it.
const BAR: f64 = 24.0;
/// What [`Curve::growth`] may be, MiB: what the allocator does now and then, and no more.
pub(super) const FLAT_MIB: f64 = 4.0;

/// How much memory both took over time.
#[derive(Debug, Serialize)]
pub(super) struct Soak {
    /// Sockets a second that were asked for, and that were made.
    rate: u32,
    sockets: u64,
    seconds: f64,
    pub(super) leaks: Curve,
    pub(super) record: Curve,
}

/// Resident memory over time, MiB.
#[derive(Debug, Default, Serialize)]
pub(super) struct Curve {
    readings: Vec<Reading>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Reading {
    seconds: f64,
    /// Of the tracer itself.
    rss_mib: f64,
    /// The most that it ever was.
    peak_mib: f64,
    /// Of the processes that it started.
    children_mib: f64,
}

/// Lets both run beside a program of another user's.
///
/// # Errors
///
/// The program cannot be built, or one of them does not run.
pub(super) fn measure(binary: &Path, quick: bool) -> Result<Soak> {
    let lasts = if quick { QUICK } else { LONG };
    eprintln!("    {RATE} new places a second for {} s", lasts.as_secs());
    let directory = tempfile::tempdir()?;
    // The user whom the program runs as has to get there.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let mut load = Running::start(load(&program(directory.path())?, lasts))?;
    let mut said = BufReader::new(load.stdout()?).lines();
    ensure!(said.next().transpose()?.as_deref() == Some("READY"), "the program that leaks is not ready");
    let network = format!("/proc/{}/ns/net", load.pid());
    let traced = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.env("NO_COLOR", "1").args(arguments);
        command.args(["--interval", "2s", "--older-than", "500ms", "--netns", &network]);
        Traced::start(command, false).with_context(|| format!("failed to start `tcpstate {}`", arguments[0]))
    };
    let leaks = traced(&["leaks", "-o", "json"])?;
    let path = directory.path().join("soak.tcps").display().to_string();
    let record = traced(&["record", "-o", &path, "--max-size", "20M", "--max-files", "2"])?;
    let (mut of_leaks, mut of_record) = (Curve::default(), Curve::default());
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        thread::sleep(lasts / READINGS);
        let seconds = begun.elapsed().as_secs_f64();
        of_leaks.readings.push(Reading::take(leaks.pid(), seconds)?);
        of_record.readings.push(Reading::take(record.pid(), seconds)?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let sockets = said.next().transpose()?.unwrap_or_default();
    let sockets = sockets.parse().with_context(|| format!("the program that leaks says {sockets:?}"))?;
    leaks.stop()?;
    record.stop()?;
    Ok(Soak { rate: RATE, sockets, seconds, leaks: of_leaks, record: of_record })
}

/// The program of the tests, built as they build it.
fn program(directory: &Path) -> Result<PathBuf> {
    let source = cargo::workspace().join("tcpstate/tests/scenarios/c/ever_new.c");
    let program = directory.join("ever_new");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-O2", "-fomit-frame-pointer", "-o"])
        .arg(&program)
        .arg(source);
    let status = gcc.status().context("failed to run `gcc`")?;
    ensure!(status.success(), "`{}` failed: {status}", display(&gcc));
    Ok(program)
}

/// In a network of its own, as nobody.
fn load(program: &Path, lasts: Duration) -> Command {
    let run = "ip link set lo up && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sh", "-c", run, "sh"]).arg(program);
    command.args([RATE.to_string(), lasts.as_secs().to_string()]);
    // It ends with its input.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Reading {
    fn take(pid: u32, seconds: f64) -> Result<Self> {
        let mib = |pid, field| Ok::<_, anyhow::Error>(memory(pid, field)? / f64::from(1 << 20));
        // Any of its threads may have started them.
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
        let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: String = children.map(|children| children + " ").collect();
        let children = children.split_ascii_whitespace().filter_map(|child| mib(child.parse().ok()?, "VmRSS").ok());
        let children_mib = children.fold(0.0, |all, mib| all + mib);
        Ok(Self { seconds, rss_mib: mib(pid, "VmRSS")?, peak_mib: mib(pid, "VmHWM")?, children_mib })
    }
}

impl Curve {
    fn greatest(readings: &[Reading]) -> Option<f64> {
        readings.iter().map(|reading| reading.rss_mib).reduce(f64::max)
    }

    /// The most of all readings, MiB.
    pub(super) fn most(&self) -> Option<f64> {
        Self::greatest(&self.readings)
    }

    /// How much more there was in the last fifth of the time than in the second one, MiB.
    pub(super) fn growth(&self) -> Option<f64> {
        let fifth = self.readings.len() / 5;
        let last = self.readings.len().checked_sub(fifth)?;
        Some(Self::greatest(&self.readings[last..])? - Self::greatest(self.readings.get(fifth..2 * fifth)?)?)
    }
}

impl Soak {
    /// As a table, with bars.
    pub(super) fn write(&self, text: &mut impl std::fmt::Write) -> std::fmt::Result {
        let Self { rate, sockets, seconds, leaks, record } = self;
        writeln!(
            text,
            "Ever new places, {rate} a second asked for, {:.0} made; resident memory, and that of the processes it started:\n",
            *sockets as f64 / seconds
        )?;
        writeln!(text, "| s | `leaks`, MiB | most | `record`, MiB | most | |\n|---|---|---|---|---|---|")?;
        let scale = leaks.most().into_iter().chain(record.most()).fold(1.0, f64::max) / BAR;
        let step = leaks.readings.len().div_ceil(ROWS).max(1);
        let both = leaks.readings.iter().zip(&record.readings);
        for (of_leaks, of_record) in both.skip(step - 1).step_by(step) {
            let shown = |reading: &Reading| format!("{:.1} + {:.1}", reading.rss_mib, reading.children_mib);
            let (bar, more) = (of_leaks.rss_mib / scale, of_record.rss_mib / scale);
            writeln!(
                text,
                "| {:.0} | {} | {:.1} | {} | {:.1} | `{:<width$}` |",
                of_leaks.seconds,
                shown(of_leaks),
                of_leaks.peak_mib,
                shown(of_record),
                of_record.peak_mib,
                "=".repeat(bar as usize) + &"-".repeat((more - bar).max(0.0) as usize),
                width = BAR as usize
            )?;
        }
        writeln!(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(mib: impl IntoIterator<Item = f64>) -> Curve {
        let reading =
            |(n, rss_mib): (u32, f64)| Reading { seconds: f64::from(n), rss_mib, peak_mib: rss_mib, children_mib: 2.0 };
        Curve { readings: (0..).zip(mib).map(reading).collect() }
    }

    #[test]
    fn what_comes_first_is_no_growth() {
        let flat = curve((0..100).map(|n| if n < 20 { f64::from(n) } else { 40.0 + f64::from(n % 3) }));
        assert_eq!((flat.most(), flat.growth()), (Some(42.0), Some(0.0)));
        let growing = curve((0..100).map(f64::from));
        assert_eq!((growing.most(), growing.growth()), (Some(99.0), Some(60.0)));
        assert_eq!((curve([]).most(), curve([]).growth()), (None, None));
    }

    #[test]
    fn a_table_has_some_of_the_readings() {
        let soak =
            Soak { rate: 300, sockets: 54_000, seconds: 180.0, leaks: curve([40.0; 180]), record: curve([60.0; 180]) };
        let mut text = String::new();
        soak.write(&mut text).expect("a string takes all");
        assert_eq!(
            text.lines().filter(|line| line.contains("| 40.0 + 2.0 | 40.0 | 60.0 + 2.0 | 60.0 |")).count(),
            ROWS
        );
        assert!(text.contains("`================--------`"), "{text}");
    }
}
