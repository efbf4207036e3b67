//! How much memory a tracer and the processes that it started take, while they live.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, ensure};

const PERIOD: Duration = Duration::from_millis(50);

/// How the helpers of a tracer are called: `tcpstate: broker`, `tcpstate: worker`.
const HELPER: &str = "tcpstate: ";

/// What one process came to.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its name; empty for the tracer itself.
    pub(crate) name: String,
    /// `VmHWM`: the most it ever had.
    pub(crate) most_kib: u64,
}

type Processes = BTreeMap<u32, Seen>;

/// Looks until it is dropped.
pub(crate) struct Watch {
    seen: Arc<Mutex<Processes>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn of(tracer: u32) -> Self {
        let seen = Arc::<Mutex<Processes>>::default();
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, end) = (Arc::clone(&seen), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                look(tracer, &mut shared.lock().unwrap_or_else(PoisonError::into_inner));
                thread::sleep(PERIOD);
            }
        });
        Self { seen, ended, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> Processes {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error where the tracer took more than so much memory, or one of its helpers more than that.
    pub(crate) fn check(&self, tracer_mib: u64, helper_mib: u64) -> Result<()> {
        for (pid, seen) in self.seen() {
            let bound = if seen.name.is_empty() { tracer_mib } else { helper_mib };
            ensure!(
                seen.most_kib <= bound << 10,
                "`{}`[{pid}] took {} KiB: more than {bound} MiB",
                seen.name,
                seen.most_kib
            );
        }
        Ok(())
    }

    /// The helpers that are still there, but those that were killed and wait for a file system that does not answer: a
    /// request that has reached its server may be waited out (`request_wait_answer()`, `fs/fuse/dev.c`).
    pub(crate) fn left(&self) -> Vec<u32> {
        let seen = self.seen();
        let helpers = seen.iter().filter(|(_, seen)| !seen.name.is_empty());
        let is_there = |pid: u32| name(pid).is_some_and(|name| name.starts_with(HELPER)) && !is_killed(pid);
        helpers.map(|(&pid, _)| pid).filter(|&pid| is_there(pid)).collect()
    }
}

/// Whether SIGKILL is pending for a process.
fn is_killed(pid: u32) -> bool {
    const KILL: u64 = 1 << 8;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending =
        status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    pending.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & KILL != 0)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn look(tracer: u32, seen: &mut Processes) {
    let tasks = fs::read_dir(format!("/proc/{tracer}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .collect::<Vec<_>>()
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter_map(|pid| pid.parse().ok())
        .collect();
    let helpers =
        children.into_iter().filter_map(|pid| Some((pid, name(pid).filter(|name| name.starts_with(HELPER))?)));
    for (pid, name) in helpers.chain([(tracer, String::new())]) {
        let Some(most_kib) = most(pid) else { continue };
        seen.insert(pid, Seen { name, most_kib });
    }
}

/// Its first argument.
fn name(pid: u32) -> Option<String> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(arguments.split(|&byte| byte == 0).next()?).into_owned())
}

fn most(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
