//! A program that leaks, as a test sees it: what it says, line by line, and its end.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    str::FromStr,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::launch::Launch;

/// For anything a program is expected to say.
const PATIENCE: Duration = Duration::from_secs(45);

/// A running program; it and what it started are killed when this is dropped, or when the test itself is.
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    name: String,
    pub(crate) pid: u32,
}

impl Program {
    pub(crate) fn start<A: AsRef<str>>(path: &Path, arguments: &[A]) -> Result<Self> {
        Self::launch(&Launch::default(), path, arguments)
    }

    pub(crate) fn launch<A: AsRef<str>>(launch: &Launch, path: &Path, arguments: &[A]) -> Result<Self> {
        let name = path.file_name().context("a program without a name")?.to_string_lossy().into_owned();
        let mut command = launch.command(path)?;
        command.args(arguments.iter().map(AsRef::as_ref)).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(name.clone())?;
        let input = child.stdin.take().context("stdin of a program")?;
        let output = BufReader::new(child.stdout.take().context("stdout of a program")?);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let pid = child.id();
        Ok(Self { child, input, lines, name, pid })
    }

    /// What follows `word` on the next line that begins with it.
    pub(crate) fn said(&self, word: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.with_context(|| format!("`{}` did not say `{word}`", self.name))?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// A number that follows `word`.
    pub(crate) fn number<N: FromStr>(&self, word: &str) -> Result<N> {
        let said = self.said(word)?;
        said.parse().ok().with_context(|| format!("`{}` said `{word} {said}`", self.name))
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> Result<u16> {
        self.number("PORT")
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").with_context(|| format!("`{}` does not listen", self.name))
    }

    /// Its only child process.
    pub(crate) fn only_child(&self) -> Result<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = fs::read_to_string(&path).with_context(|| format!("`{path}`"))?;
        match children.split_whitespace().collect::<Vec<_>>()[..] {
            [child] => Ok(child.parse()?),
            _ => bail!("children of `{}`: {children}", self.name),
        }
    }

    /// An error if it has ended, which no program of a scenario does by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        ensure!(status.is_none(), "`{}` ended: {status:?}", self.name);
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A group that has ended already says so, which is fine.
        if let Some(group) = Pid::from_raw(self.pid.cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        drop(self.child.wait());
    }
}

/// Where an installed program is.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file());
    found.with_context(|| format!("`{name}` is not installed: run `cargo xtask setup`"))
}
