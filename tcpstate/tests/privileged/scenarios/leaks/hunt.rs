//! Drives the real `tcpstate leaks`.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::report::Report;
use crate::support::{launch::Launch, transcript::Transcript};

/// How long a socket has to be in `CLOSE_WAIT`.
pub(crate) const OLDER_THAN: Duration = Duration::from_millis(500);

/// For a report that shows something: a debug build takes seconds to name the first stack of a large program, such as this
/// test itself.
const REPORT_PATIENCE: Duration = Duration::from_secs(30);

/// A running `tcpstate leaks`; killed when dropped.
pub(crate) struct Hunt {
    child: Child,
    transcript: Transcript,
}

/// All that it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Hunt {
    /// Reports twice a second, as JSON; attached when this returns.
    pub(crate) fn start(filter: &[String], more: &[&str]) -> Result<Self> {
        let plain = ["-o", "json", "--interval", "500ms", "--older-than", "500ms"];
        let own = plain.iter().chain(more).map(|argument| (*argument).to_owned());
        let hunt = Self::spawn(&Launch::default(), &own.chain(filter.iter().cloned()).collect::<Vec<_>>())?;
        hunt.wait_until("the first report", |_| Ok(()))?;
        Ok(hunt)
    }

    pub(crate) fn spawn(launch: &Launch, arguments: &[String]) -> Result<Self> {
        let mut child = command(launch, arguments)?.stdout(Stdio::piped()).spawn().context("tcpstate")?;
        let stdout = child.stdout.take().context("stdout of the tracer")?;
        let stderr = child.stderr.take().context("stderr of the tracer")?;
        let transcript = Transcript::start(format!("leaks {}", arguments.join(" ")), stdout, stderr, false);
        Ok(Self { child, transcript })
    }

    /// Starts it with a standard output of the caller's own.
    pub(crate) fn spawn_with_stdout(arguments: &[String], stdout: impl Into<Stdio>) -> Result<Self> {
        let mut child = command(&Launch::default(), arguments)?.stdout(stdout).spawn().context("tcpstate")?;
        let stderr = child.stderr.take().context("stderr of the tracer")?;
        let transcript = Transcript::start(format!("leaks {}", arguments.join(" ")), std::io::empty(), stderr, false);
        Ok(Self { child, transcript })
    }

    /// Waits for its words, on standard output or standard error; attached when `-v` has named the hooks.
    pub(crate) fn wait_until_said(&self, what: &str, mut enough: impl FnMut(&str, &str) -> bool) -> Result<()> {
        self.transcript.wait_for(REPORT_PATIENCE, what, |said| {
            enough(&String::from_utf8_lossy(said.stdout()), &String::from_utf8_lossy(said.stderr()))
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a report that `check` finds nothing wrong with; its last objection is the error.
    pub(crate) fn wait_until(&self, what: &str, mut check: impl FnMut(&Report) -> Result<()>) -> Result<Report> {
        let mut result = Err(anyhow::anyhow!("no report"));
        let (mut broken, mut looked_at) = (None, 0);
        let waited = self.transcript.wait_for(REPORT_PATIENCE, what, |said| {
            let Some(end) = said.stdout().iter().rposition(|&byte| byte == b'\n').filter(|&end| end >= looked_at)
            else {
                return false;
            };
            for line in said.stdout()[looked_at..end].split(|&byte| byte == b'\n') {
                match serde_json::from_slice::<Report>(line) {
                    Ok(report) => result = check(&report).map(|()| report),
                    Err(error) => broken = Some(error),
                }
                if result.is_ok() || broken.is_some() {
                    break;
                }
            }
            looked_at = end + 1;
            result.is_ok() || broken.is_some()
        });
        if let Some(error) = broken {
            return Err(error).context("a report that is none");
        }
        match (result, waited) {
            (Ok(report), Ok(())) => Ok(report),
            (Err(objection), Err(late)) => Err(objection.context(late)),
            (result, waited) => waited.and(result),
        }
    }

    /// The same for reports of after a moment: what was true before may be so again.
    pub(crate) fn wait_after(
        &self,
        moment_ns: u64,
        what: &str,
        mut check: impl FnMut(&Report) -> Result<()>,
    ) -> Result<Report> {
        self.wait_until(what, |report| {
            ensure!(report.mono_ns > moment_ns, "no report since then");
            check(report)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("pid of the tracer")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<Ended> {
        let deadline = Instant::now() + REPORT_PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("the tracer did not end in {REPORT_PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.transcript.wait_for_end()?;
        Ok(Ended { status, stdout: self.transcript.stdout(), stderr: self.transcript.stderr() })
    }

    /// Ctrl-C; it has to end well.
    pub(crate) fn finish(self) -> Result<Ended> {
        self.signal(Signal::INT)?;
        let ended = self.end()?;
        ensure!(ended.status.success() && !ended.stderr.contains("panicked"), "it ended with {}", ended.status);
        Ok(ended)
    }
}

impl Drop for Hunt {
    fn drop(&mut self) {
        // Of a tracer that has ended already both say so, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(launch: &Launch, arguments: &[String]) -> Result<Command> {
    let mut command = launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
    command.arg("leaks").args(arguments).env_remove("NO_COLOR").env_remove("RUST_LOG").env("TERM", "xterm");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

/// What `leaks --once` says, as JSON.
pub(crate) fn once(filter: &[String]) -> Result<Report> {
    let own = ["--once", "-o", "json", "--older-than", "500ms"].map(str::to_owned);
    let began = Instant::now();
    let ended = Hunt::spawn(&Launch::default(), &[&own[..], filter].concat())?.end()?;
    ensure!(ended.status.success(), "`--once` ended with {}", ended.status);
    ensure!(began.elapsed() < Duration::from_secs(3), "`--once` took {:?}", began.elapsed());
    let [report] = ended.stdout.lines().collect::<Vec<_>>()[..] else { bail!("not one report") };
    serde_json::from_str(report).context("a report that is none")
}
