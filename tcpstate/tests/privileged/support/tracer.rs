//! Drives the real `tcpstate trace`: starts it, waits for what it shows, stops it. Every wait has a deadline.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    event::{DwellRow, Endpoint, Summary, Transition},
    gate::{Gate, GatedReader},
    launch::Launch,
    transcript::Transcript,
};

/// No cookie and no id has this bit.
const STANDS_FOR_ID: u64 = 1 << 62;

/// For anything the tracer is expected to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How to start the tracer.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    arguments: Vec<String>,
    text: bool,
    launch: Launch,
    environment: Vec<(String, String)>,
}

/// A running tracer; killed when dropped.
pub(crate) struct Tracer {
    child: Child,
    pub(crate) transcript: Transcript,
}

/// All that a tracer said, from start to end.
pub(crate) struct Trace {
    pub(crate) transitions: Vec<Transition>,
    pub(crate) summary: Summary,
    pub(crate) probes: Value,
    pub(crate) stderr: String,
}

/// The end of a tracer that may have failed, or that did not speak json.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Setup {
    /// `tcpstate trace -o json` with these arguments.
    pub(crate) fn new<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self { arguments: arguments.into_iter().map(|a| a.as_ref().to_owned()).collect(), ..Self::default() }
    }

    /// Text instead of json.
    pub(crate) fn text(mut self) -> Self {
        self.text = true;
        self
    }

    pub(crate) fn launch(mut self, launch: Launch) -> Self {
        self.launch = launch;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self) -> Result<std::process::Command> {
        let mut command = self.launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
        command.args(["trace", "-o", if self.text { "text" } else { "json" }]).args(&self.arguments);
        command
            .env_remove("NO_COLOR")
            .env_remove("RUST_LOG")
            .env("TERM", "xterm")
            .envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts it without waiting for anything, its output read as it comes.
    pub(crate) fn spawn(&self) -> Result<Tracer> {
        self.spawn_behind(Gate::default())
    }

    fn spawn_behind(&self, gate: Gate) -> Result<Tracer> {
        let mut child = self.command()?.stdout(Stdio::piped()).spawn().context("tcpstate")?;
        let stdout = child.stdout.take().context("stdout of the tracer")?;
        let stderr = child.stderr.take().context("stderr of the tracer")?;
        let stdout = GatedReader { inner: stdout, gate };
        let transcript = Transcript::start(self.arguments.join(" "), stdout, stderr, !self.text);
        Ok(Tracer { child, transcript })
    }

    /// Starts it with a standard output of the caller's own.
    pub(crate) fn spawn_with_stdout(&self, stdout: impl Into<Stdio>) -> Result<Tracer> {
        let mut child = self.command()?.stdout(stdout).spawn().context("tcpstate")?;
        let stderr = child.stderr.take().context("stderr of the tracer")?;
        let transcript = Transcript::start(self.arguments.join(" "), std::io::empty(), stderr, false);
        Ok(Tracer { child, transcript })
    }

    /// Starts it and waits until everything is attached and the snapshot is taken.
    pub(crate) fn start(&self) -> Result<Tracer> {
        Ok(self.start_gated()?.0)
    }

    /// Starts several at the same time.
    pub(crate) fn start_all(setups: impl IntoIterator<Item = Self>) -> Result<Vec<Tracer>> {
        let tracers = setups.into_iter().map(|setup| setup.spawn()).collect::<Result<Vec<_>>>()?;
        tracers.iter().try_for_each(Tracer::wait_attached)?;
        Ok(tracers)
    }

    /// Starts one with a gate before its standard output.
    pub(crate) fn start_gated(&self) -> Result<(Tracer, Gate)> {
        let gate = Gate::default();
        let tracer = self.spawn_behind(gate.clone())?;
        tracer.wait_attached()?;
        Ok((tracer, gate))
    }

    /// Runs it to its end: for starts that have to fail.
    pub(crate) fn run(&self) -> Result<Ended> {
        self.spawn()?.end()
    }
}

impl Tracer {
    /// `tcpstate trace -o json` with these arguments, attached.
    pub(crate) fn start<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Result<Self> {
        Setup::new(arguments).start()
    }

    /// Everything on the machine is shown; tests look at their own cookies. There is room for more than they do themselves.
    pub(crate) fn unfiltered() -> Result<Self> {
        Setup::new(["--buffer", "32M"]).start()
    }

    fn wait_attached(&self) -> Result<()> {
        self.transcript.wait_until("the probes line", |said| said.probes().is_some())
    }

    /// Whether everything is attached and the snapshot is taken.
    pub(crate) fn is_attached(&self) -> bool {
        self.transcript.has(|said| said.probes().is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the transitions shown so far satisfy `enough`.
    pub(crate) fn wait_until(&self, what: &str, enough: impl Fn(&[Transition]) -> bool) -> Result<()> {
        self.transcript.wait_until(what, |transcript| enough(transcript.transitions()))
    }

    /// Waits until each of these sockets was shown to enter `CLOSE`.
    pub(crate) fn wait_closed(&self, cookies: &[u64]) -> Result<()> {
        self.wait_entered("CLOSE", cookies)
    }

    /// Waits until each of these sockets was shown to enter `state`.
    pub(crate) fn wait_entered(&self, state: &str, cookies: &[u64]) -> Result<()> {
        let mut missing: HashSet<u64> = cookies.iter().copied().collect();
        let what = format!("sockets {cookies:x?} to enter {state}");
        let mut looked_at = 0;
        self.transcript.wait_until(&what, |transcript| {
            let shown = transcript.transitions();
            for transition in &shown[looked_at..] {
                if transition.new == state {
                    transition.cookie.map(|cookie| missing.remove(&cookie));
                }
            }
            looked_at = shown.len();
            missing.is_empty()
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("pid of the tracer")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ctrl-C, then everything that it said.
    pub(crate) fn finish(self) -> Result<Trace> {
        self.signal(Signal::INT)?;
        self.trace()
    }

    /// Waits for an end that comes by itself; the trace has to be complete, consistent, and end with 0.
    pub(crate) fn trace(mut self) -> Result<Trace> {
        let status = self.wait()?;
        let (transitions, probes, summary) = self.transcript.parsed()?;
        let stderr = self.transcript.stderr();
        ensure!(status.success(), "the tracer ended with {status}");
        ensure!(summary.seen == transitions.len() as u64, "{} seen, {} shown", summary.seen, transitions.len());
        ensure!(summary.seen + summary.lost == summary.transitions, "seen + lost ≠ transitions: {summary:?}");
        ensure!(summary.map_full == 0 && summary.unknown_state == 0, "{summary:?}");
        ensure!(!stderr.contains("panicked"), "the tracer panicked");
        Ok(Trace { transitions, summary, probes, stderr })
    }

    /// Waits for the end, whatever it is.
    pub(crate) fn end(mut self) -> Result<Ended> {
        let status = self.wait()?;
        Ok(Ended { status, stdout: self.transcript.stdout(), stderr: self.transcript.stderr() })
    }

    /// SIGINT, then the end: for output that is not json.
    pub(crate) fn interrupt(self) -> Result<Ended> {
        self.signal(Signal::INT)?;
        self.end()
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.transcript.wait_for_end()?;
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the tracer did not end in {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Of a tracer that has ended already both say so, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Trace {
    /// The transitions of one socket, in order.
    pub(crate) fn of(&self, cookie: u64) -> Vec<&Transition> {
        let shows = |transition: &&Transition| match cookie & STANDS_FOR_ID {
            0 => transition.shows(cookie),
            _ => transition.id == Some(cookie & !STANDS_FOR_ID),
        };
        self.transitions.iter().filter(shows).collect()
    }

    /// The cookie of the one socket that was shown with these endpoints; for one that the kernel gave none, because nobody
    /// asked in time, a number that stands for its id.
    pub(crate) fn cookie_between(&self, local: Endpoint, remote: Endpoint) -> Result<u64> {
        let shown = self.transitions.iter().filter(|t| t.local == local && t.remote == remote);
        let name = |t: &Transition| t.cookie.or(t.id.map(|id| id | STANDS_FOR_ID));
        let cookies: BTreeSet<u64> = shown.filter_map(name).collect();
        ensure!(cookies.len() == 1, "cookies of {local}→{remote}: {cookies:x?}");
        cookies.first().copied().context("no cookie")
    }

    /// The row of a state in the dwell table.
    pub(crate) fn dwell(&self, state: &str) -> Result<&DwellRow> {
        let row = self.summary.dwell.iter().find(|row| row.state == state);
        row.with_context(|| format!("no dwell row for {state}: {:?}", self.summary.dwell))
    }
}
