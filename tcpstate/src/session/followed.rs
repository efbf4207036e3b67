//! The processes of `--pid`, and their descendants at the start.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tcpstate_stacks::process::stat::field;

use crate::kernel::Descendants;

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

    /// How to find what is to be followed besides.
    pub(crate) fn descendants(&self) -> Option<Descendants> {
        self.children.then_some(descendants as Descendants)
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

/// All processes below `ancestors`, from the parents in `/proc/PID/stat`.
pub(crate) fn descendants(ancestors: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let stat = fs::read(entry.path().join("stat")).ok();
        if let (Some(pid), Some(parent)) = (pid, stat.as_deref().and_then(parent)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut seen: HashSet<u32> = ancestors.iter().copied().collect();
    let mut next = ancestors.to_vec();
    let mut found = Vec::new();
    while let Some(pid) = next.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            if seen.insert(child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

/// The parent's pid in `/proc/PID/stat`.
pub(crate) fn parent(stat: &[u8]) -> Option<u32> {
    const PARENT: usize = 4;
    u32::try_from(field(stat, PARENT)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().expect("sleep starts");
        let found = descendants(&[std::process::id()]);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(found.contains(&child.id()), "{found:?}");
    }
}
