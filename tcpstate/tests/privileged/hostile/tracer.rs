//! The program under test among attackers: what it says and when, what it takes, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    stage::{Attacker, Stage},
    verdicts,
    watch::Watch,
};
use crate::support::binary;

/// Time between two reports that are asked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How much later than that one may be: it waits for names of places and then of sleepers, in a build without optimization longer.
const LATE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 32 } else { 8 });
/// How long it may take until all is as it has to be: time limits of several requests, one after the other.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long attacks go on at least.
const ATTACKED: Duration = Duration::from_secs(3);
/// From Ctrl-C to the end, which waits for names as a report does.
const END: Duration = LATE;

/// A running `tcpstate leaks` or `tcpstate record`; killed when dropped.
pub(crate) struct Tracer {
    child: Child,
    pub(crate) watch: Watch,
    reports: Arc<Mutex<Vec<Report>>>,
    stderr: Arc<Mutex<String>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A line of its output.
#[derive(Clone)]
struct Report {
    at: Instant,
    line: String,
}

impl Tracer {
    /// `leaks` on the stage; its first report has come.
    pub(crate) fn leaks(stage: &Stage) -> Result<Self> {
        let tracer = Self::spawn(stage, &["leaks", "-o", "json", "--interval", "1s", "--older-than", "50ms"])?;
        tracer.wait("the first report", |_| Ok(()))?;
        Ok(tracer)
    }

    pub(crate) fn spawn(stage: &Stage, arguments: &[&str]) -> Result<Self> {
        let mut command = stage.launch().command(binary::tcpstate())?;
        command.args(arguments).args(stage.filter()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("tcpstate")?;
        let (reports, stderr) = (Arc::<Mutex<Vec<Report>>>::default(), Arc::<Mutex<String>>::default());
        let (out, mut err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let (said, complained) = (Arc::clone(&reports), Arc::clone(&stderr));
        let threads = vec![
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    said.lock().unwrap_or_else(PoisonError::into_inner).push(Report { at: Instant::now(), line });
                }
            }),
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = err.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    complained.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                }
            }),
        ];
        let watch = Watch::of(child.id());
        Ok(Self { child, watch, reports, stderr, threads })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn said(&self) -> Vec<Report> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a report that `check` finds nothing wrong with. Reports have to keep coming meanwhile.
    fn wait(&self, what: &str, check: impl Fn(&Value) -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        let mut objection = anyhow::anyhow!("no report");
        loop {
            let said = self.said();
            if let Some(last) = said.last().filter(|last| last.at >= begun) {
                let report = serde_json::from_str(&last.line).context("a report that is none")?;
                match check(&report) {
                    Ok(()) => return Ok(()),
                    Err(error) => objection = error,
                }
            }
            let since = said.last().map_or(begun, |last| last.at.max(begun)).elapsed();
            // Before the first report it loads and attaches.
            ensure!(
                said.is_empty() || since < INTERVAL + LATE,
                "no report for {since:?}; {objection:#}\n{}",
                self.stderr()
            );
            if begun.elapsed() > PATIENCE {
                return Err(objection.context(format!("{what} in {PATIENCE:?}\n{}", self.stderr())));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a report has everything right: what the neighbour leaks, and who attacks with what.
    pub(crate) fn withstands(&self, stage: &mut Stage, attackers: &[Attacker]) -> Result<()> {
        let begun = Instant::now();
        // Events come while it is being attacked.
        stage.neighbour_leaks(false)?;
        thread::sleep(Duration::from_millis(1500));
        let sockets = stage.neighbour_leaks(true)?;
        self.wait("the truth about all", |report| {
            verdicts::check_neighbour(report, stage.neighbour.pid, sockets)?;
            attackers.iter().try_for_each(|attacker| verdicts::check_attacker(report, attacker))?;
            ensure!(begun.elapsed() > ATTACKED, "it has not been attacked for long enough");
            Ok(())
        })?;
        verdicts::check_memory(&self.watch)
    }

    /// The longest time without a report.
    fn check_intervals(&self) -> Result<()> {
        let times: Vec<_> = self.said().iter().map(|report| report.at).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        ensure!(longest < INTERVAL + LATE, "{longest:?} without a report");
        Ok(())
    }

    pub(crate) fn interrupt(&self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a pid")?;
        Ok(kill_process(pid, Signal::INT)?)
    }

    /// Ctrl-C. It has to end well, soon, and with all its helpers.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.interrupt()?;
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if asked.elapsed() > END {
                bail!("it goes on {END:?} after Ctrl-C\n{}", self.stderr());
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        let stderr = self.stderr();
        ensure!(status.code() == Some(0), "it ended with {status}\n{stderr}");
        ensure!(!stderr.contains("panicked") && !stderr.contains("overflowed its stack"), "{stderr}");
        self.check_intervals()?;
        verdicts::check_memory(&self.watch)?;
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.watch.left().is_empty() {
            ensure!(Instant::now() < deadline, "helpers are left behind: {:?}", self.watch.left());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Of a tracer that has ended already both say so, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
