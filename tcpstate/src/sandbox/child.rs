//! A child of the tracer that reads for it.

use std::{
    fs, io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, time::clock_getcpuclockid, unistd::Pid};
use rustix::param::page_size;
use tcpstate_wire::channel::{Channel, ChannelError};

use super::{patience::TaskLimits, role::ChildRole};

/// How long one that was killed may take to be gone. One that waits for a file system in user space takes as long as that likes; it is
/// left behind.
const GOING: Duration = Duration::from_millis(200);

/// How often it is asked how much time a reader has used.
const WATCH: Duration = Duration::from_millis(20);

/// What a reader has taken of its time.
#[derive(Debug)]
pub(super) struct TimeTaken<'a> {
    limits: TaskLimits,
    /// Whether there is none left.
    hurry: &'a AtomicBool,
    cpu_before: Duration,
    blocked: Duration,
    began: Instant,
}

/// A child of the tracer that reads for it. Killed when dropped.
#[derive(Debug)]
pub(super) struct ReadingChild {
    child: Child,
    pub(super) channel: Channel,
}

impl ReadingChild {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// There is no `/proc`, or the system has no room for another process.
    pub(super) fn start(role: ChildRole) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        // The executable of this very process, whatever has its name by now.
        let mut command = Command::new("/proc/self/exe");
        command.arg0(role.name()).env_clear().current_dir("/");
        command.stdin(Stdio::from(theirs.into_socket())).stdout(Stdio::null()).stderr(Stdio::null());
        // What is typed at a terminal is for the tracer.
        command.process_group(0);
        Ok(Self { child: command.spawn()?, channel: ours })
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time that it has used; `None` when that cannot be told.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().cast_signed())).ok()?;
        clock.now().ok().map(Duration::from)
    }

    /// Waits for what it says to be received, as long as it may take for that. Returns whether there is something.
    ///
    /// # Errors
    ///
    /// The channel is of no use any more.
    pub(super) fn answers_within(&self, watched: &mut TimeTaken) -> Result<bool, ChannelError> {
        while !self.channel.is_ready(Instant::now() + WATCH)? {
            let used = self.cpu_time().unwrap_or_default().saturating_sub(watched.cpu_before);
            watched.blocked += if self.is_blocked() { WATCH } else { Duration::ZERO };
            let limits = if watched.hurry.load(Ordering::Relaxed) { TaskLimits::HURRY } else { watched.limits };
            if used.max(watched.blocked) >= limits.each || watched.began.elapsed() >= limits.all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has time counted from now on.
    pub(super) fn watch<'a>(&self, limits: TaskLimits, hurry: &'a AtomicBool) -> TimeTaken<'a> {
        let cpu_before = self.cpu_time().unwrap_or_default();
        TimeTaken { limits, hurry, cpu_before, blocked: Duration::ZERO, began: Instant::now() }
    }

    /// Whether it waits for something else than a CPU.
    fn is_blocked(&self) -> bool {
        let stat = fs::read(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let state = stat.iter().rposition(|&byte| byte == b')').and_then(|name| stat.get(name + 2));
        matches!(state, Some(b'S' | b'D'))
    }

    /// Memory that it takes, bytes; 0 when that cannot be told.
    pub(super) fn resident(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
        pages.unwrap_or(0) * page_size()
    }

    /// Ends it, and says how it ended, if it has by now.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        // It may have ended by itself, and that is what is to be told.
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let _ = self.child.kill();
        let began = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if began.elapsed() < GOING => sleep(Duration::from_millis(1)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for ReadingChild {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a reader ended by itself, in words that follow "reading it".
pub(super) fn in_words(status: Option<ExitStatus>) -> String {
    match status.and_then(|status| status.signal()).map(Signal::try_from) {
        Some(Ok(Signal::SIGBUS)) => "failed, since it became shorter meanwhile".to_owned(),
        Some(Ok(Signal::SIGABRT)) => "took more memory than it may".to_owned(),
        Some(Ok(Signal::SIGSYS)) => "led to what the reader must not do".to_owned(),
        Some(Ok(signal)) => format!("ended the reader by {signal}"),
        Some(Err(_)) | None => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_words() {
        for (status, words) in [
            (Some(7), "failed, since it became shorter meanwhile"),
            (Some(6), "took more memory than it may"),
            (Some(31), "led to what the reader must not do"),
            (Some(11), "ended the reader by SIGSEGV"),
            (Some(101 << 8), "failed"),
            (None, "failed"),
        ] {
            assert_eq!(in_words(status.map(ExitStatus::from_raw)), words);
        }
    }
}
