//! The terminal is as it was when `tcpstate run` has ended, whatever the command did to it and however it ended.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{scenarios::compile, support::run::trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("runs::terminal::command_killed", command_killed),
        trial("runs::terminal::command_ends_by_itself", command_ends_by_itself),
        trial("runs::terminal::terminated", terminated),
        trial("runs::terminal::interrupted", interrupted),
        trial("runs::terminal::stopped_and_continued", stopped_and_continued),
    ]
}

const PATIENCE: Duration = Duration::from_secs(40);

/// A session on a terminal of its own, whose foreground job is `tcpstate run`; killed when dropped.
struct Session {
    leader: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    directory: TempDir,
}

impl Session {
    fn start(command: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let script = compile::source("run/terminal.py");
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let path = ptsname(&ours, Vec::new())?;
        let theirs = || -> Result<OwnedFd> { Ok(open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?) };
        let mut leader = Command::new("/usr/bin/python3");
        leader.arg("-B").arg(&script).arg("lead").arg(directory.path().join("told"));
        leader.arg(env!("CARGO_BIN_EXE_tcpstate")).args(["run", "--"]);
        leader.args(["/usr/bin/python3", "-B"]).arg(&script).args(command);
        leader.stdin(Stdio::from(theirs()?)).stdout(Stdio::from(theirs()?)).stderr(Stdio::from(theirs()?));
        // SAFETY: only system calls are made between fork and exec.
        unsafe {
            leader.pre_exec(|| {
                setsid()?;
                ioctl_tiocsctty(rustix::stdio::stdin().as_fd())?;
                Ok(())
            });
        }
        let leader = leader.spawn()?;
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut output, shown) = (File::from(ours.try_clone()?), Arc::clone(&screen));
        // Ends with an error when nobody has the terminal open any more.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { leader, keyboard: File::from(ours), screen, directory })
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for(&self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            ensure!(Instant::now() < deadline, "no {what}; on the screen: {}", self.screen());
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until the command has said this.
    fn says(&self, word: &str) -> Result<()> {
        self.wait_for(word, |session| session.screen().contains(word))
    }

    fn press(&mut self, key: u8) -> Result<()> {
        Ok(self.keyboard.write_all(&[key])?)
    }

    /// `tcpstate` itself.
    fn job(&self) -> Result<Pid> {
        let job = self.told().first().and_then(|told| told["job"].as_i64()).context("no job")?;
        Pid::from_raw(i32::try_from(job)?).context("a pid")
    }

    fn told(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("told")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How the terminal was when `tcpstate` had ended, by this exit code.
    fn end(mut self, code: i32) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        while self.leader.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "no end; on the screen: {}", self.screen());
            sleep(Duration::from_millis(10));
        }
        let last = self.told().pop().context("the leader said nothing")?;
        ensure!(last["code"] == code, "{last} instead of exit code {code}; on the screen: {}", self.screen());
        ensure!(last["job_in_front"] == true, "another group is in the foreground: {last}");
        Ok(last)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Of one that has ended already both say so, which is fine. Its job ends with the terminal.
        drop(self.leader.kill());
        drop(self.leader.wait());
    }
}

/// Raw modes and another foreground group, and nobody left to put them right.
fn command_killed() -> Result<()> {
    for own in ["own", "same"] {
        let last = Session::start(&["raw", own, "kill"])?.end(137)?;
        ensure!(last["modes_as_before"] == true, "{own}: {last}");
    }
    Ok(())
}

/// Modes are what the command wanted, as `stty` does; that nobody is in the foreground it cannot have wanted.
fn command_ends_by_itself() -> Result<()> {
    let last = Session::start(&["raw", "own", "exit"])?.end(0)?;
    ensure!(last["modes_as_before"] == false, "{last}");
    Ok(())
}

/// SIGTERM to `tcpstate` ends the command, and then the terminal is put right.
fn terminated() -> Result<()> {
    for own in ["own", "same"] {
        let session = Session::start(&["raw", own, "wait"])?;
        session.says("ready")?;
        kill_process(session.job()?, Signal::TERM)?;
        let last = session.end(143)?;
        ensure!(last["modes_as_before"] == true, "{own}: {last}");
    }
    Ok(())
}

/// The command gets one SIGINT by Ctrl-C: the terminal's, and none of `tcpstate` besides; where it has left the group that the
/// terminal sends it to, that of `tcpstate`.
fn interrupted() -> Result<()> {
    for own in ["same", "own", "session"] {
        let mut session = Session::start(&["count", own])?;
        session.says("ready")?;
        session.press(3)?;
        session.says("SIGINT came 1 times").context(own)?;
        session.end(7)?;
    }
    let mut session = Session::start(&["raw", "same", "wait"])?;
    session.says("ready")?;
    session.press(3)?;
    // Python ends by the signal.
    let last = session.end(130)?;
    ensure!(last["modes_as_before"] == true, "{last}");
    Ok(())
}

/// Ctrl-Z stops both, and when they are continued both go on.
fn stopped_and_continued() -> Result<()> {
    let mut session = Session::start(&["stop"])?;
    session.says("ready")?;
    session.press(0x1a)?;
    session.wait_for("stop", |session| session.told().iter().any(|told| told["stopped"] == true))?;
    session.says("continued")?;
    // In colours, word by word.
    session.says("succeeded")?;
    ensure!(!session.screen().contains("never"), "{}", session.screen());
    let last = session.end(0)?;
    ensure!(last["modes_as_before"] == true, "{last}");
    Ok(())
}
