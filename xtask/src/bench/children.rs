//! The processes of a measurement: tracers, loads, and one that does nothing. None outlives the measurement.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::{
    bpf::Held,
    load::{Kind, Outcome},
};
use crate::{cargo, process::display};

/// How long a tracer may take to attach: bpftrace compiles first.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// A tracer that has attached nothing more for so long has attached all.
const SETTLED: Duration = Duration::from_millis(700);
/// How long a tracer may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A process that is killed and waited for when it is dropped, and killed when we are.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Running {
    /// # Errors
    ///
    /// It cannot be started.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        // SAFETY: one system call between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        command.spawn().map(Self).with_context(|| format!("failed to run `{}`", display(&command)))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().context("no pipe from it")
    }

    /// Asks it to end as Ctrl-C does, and tells how long it took.
    ///
    /// # Errors
    ///
    /// It does not end in time.
    pub(super) fn interrupt(&mut self) -> Result<(ExitStatus, Duration)> {
        let start = Instant::now();
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::INT)?;
        while start.elapsed() < STOP_LIMIT {
            if let Some(status) = self.0.try_wait()? {
                return Ok((status, start.elapsed()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("process {} does not end within {} s of SIGINT", self.pid(), STOP_LIMIT.as_secs())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tracer that has attached, with its output in files.
#[derive(Debug)]
pub(super) struct Traced {
    process: Running,
    stdout: File,
    stderr: File,
}

/// What a tracer left.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stdout: File,
    pub(super) stderr: String,
    pub(super) took: Duration,
}

impl Traced {
    /// Starts a tracer and waits until it has attached and, where it has something to say then, has said it.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends at once, or attaches nothing: the error has its own last word.
    pub(super) fn start(mut command: Command, speaks: bool) -> Result<Self> {
        let file = || tempfile::tempfile_in(cargo::workspace()).context("failed to make a file for its output");
        let (stdout, stderr) = (file()?, file()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut traced = Self { process: Running::start(command)?, stdout, stderr };
        let start = Instant::now();
        let mut attached = (0, start);
        loop {
            if let Some(status) = traced.process.0.try_wait()? {
                bail!("ends with {status}: {}", traced.last_word()?);
            }
            let now = Held::by(traced.pid()).attached;
            if now != attached.0 {
                attached = (now, Instant::now());
            } else if now > 0 && attached.1.elapsed() >= SETTLED && (!speaks || traced.stdout.metadata()?.len() > 0) {
                return Ok(traced);
            } else if start.elapsed() > ATTACH_LIMIT {
                bail!("attaches nothing within {} s: {}", ATTACH_LIMIT.as_secs(), traced.last_word()?);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written to its standard error until now.
    pub(super) fn words(&mut self) -> Result<String> {
        read(&mut self.stderr)
    }

    fn last_word(&mut self) -> Result<String> {
        Ok(self.words()?.lines().last().unwrap_or("without a word").to_owned())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It fails, or does not end in time.
    pub(super) fn stop(mut self) -> Result<Ended> {
        let (_, took) = self.process.interrupt()?;
        let stderr = read(&mut self.stderr)?;
        self.stdout.rewind()?;
        let stdout = self.stdout.try_clone()?;
        Ok(Ended { stdout, stderr, took })
    }
}

fn read(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A load that is ready to begin.
#[derive(Debug)]
pub(super) struct Load {
    // Before the process: it ends when its input does.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    process: Running,
}

impl Load {
    /// # Errors
    ///
    /// It cannot be started, or prepare itself.
    pub(super) fn prepare(kind: Kind, count: u64) -> Result<Self> {
        Self::of(&std::env::current_exe()?, kind, count)
    }

    /// The same from a copy of this program.
    ///
    /// # Errors
    ///
    /// As [`Load::prepare`].
    pub(super) fn of(program: &Path, kind: Kind, count: u64) -> Result<Self> {
        Self::start(program, kind, &[&count.to_string()])
    }

    /// One that goes on where others have ended, in the network of this one.
    ///
    /// # Errors
    ///
    /// As [`Load::prepare`].
    pub(super) fn beside(&self, program: &Path, kind: Kind, first: u64, count: u64) -> Result<Self> {
        let beside = self.process.pid().to_string();
        Self::start(program, kind, &[&count.to_string(), "--first", &first.to_string(), "--beside", &beside])
    }

    /// Where its network is.
    pub(super) fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.process.pid())
    }

    fn start(program: &Path, kind: Kind, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        let name = clap::ValueEnum::to_possible_value(&kind).context("a load without a name")?;
        command.args(["load", name.get_name()]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running::start(command)?;
        let input = process.0.stdin.take();
        let mut load = Self { input, output: BufReader::new(process.stdout()?), process };
        let ready = load.line()?;
        anyhow::ensure!(ready == "ready", "the load is not ready, it says {ready:?}");
        Ok(load)
    }

    /// Lets it run to its end. What it has opened stays open while `self` lives.
    ///
    /// # Errors
    ///
    /// It fails.
    pub(super) fn run(&mut self) -> Result<Outcome> {
        let input = self.input.as_mut().context("no pipe to the load")?;
        input.write_all(b"go\n")?;
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("the load failed, it says {line:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.input.take());
        // It closes what it has opened, and is killed if that takes too long.
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT && matches!(self.process.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// CPU time of a process, kernel and user, seconds: `utime` and `stime` of `/proc/PID/stat`.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it may contain anything.
    let (_, rest) = stat.rsplit_once(')').context("`/proc/PID/stat` has no name")?;
    let ticks = rest.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A field of `/proc/PID/status` in KiB, such as `VmHWM` (the most memory it had) or `VmRSS`, in bytes.
pub(super) fn memory(pid: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("`/proc/PID/status` has no {field}"))? * 1024.0)
}
