//! The processes of `--pid`, and their descendants at the start.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::host::processes::descendants;

/// Processes held by descriptor, so that a reused pid is not taken for them.
pub(crate) struct Followed {
    pids: Vec<u32>,
    children: bool,
    alive: Vec<OwnedFd>,
}

impl Followed {
    /// # Errors
    ///
    /// When one of `given` does not exist.
    pub(crate) fn new(given: &[u32], children: bool) -> Result<Self> {
        let mut alive = Vec::new();
        for &pid in given {
            match open(pid)? {
                Some(process) => alive.push(process),
                None => bail!("no process with pid {pid}; it may just have exited"),
            }
        }
        let mut followed = Self { pids: given.to_vec(), children, alive };
        followed.catch_up()?;
        Ok(followed)
    }

    /// Takes in what was forked since, before the kernel side told of forks.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let found = if self.children { descendants(&self.pids) } else { Vec::new() };
        for pid in found {
            self.alive.extend(open(pid)?);
            self.pids.push(pid);
        }
        Ok(())
    }

    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Whether there were any, and none is left.
    pub(crate) fn all_gone(&mut self) -> Result<bool> {
        if self.pids.is_empty() {
            return Ok(false);
        }
        let mut polled: Vec<_> = self.alive.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("failed to watch the traced processes"),
        }
        let mut exited = polled.iter().map(|process| !process.revents().is_empty()).collect::<Vec<_>>().into_iter();
        self.alive.retain(|_| !exited.next().unwrap_or(false));
        Ok(self.alive.is_empty())
    }
}

/// `None` when the process is gone.
fn open(pid: u32) -> Result<Option<OwnedFd>> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no process id"))?;
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to watch process {pid}")),
    }
}
