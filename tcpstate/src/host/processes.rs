//! Processes by their numbers, as `/proc` has them.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use tcpstate_broker::process::stat::field;

use super::{Host, HostError, pids::Pids, status::value};

impl Host {
    /// Makes sure that `pid` is a process that the kernel knows by this number.
    ///
    /// # Errors
    ///
    /// When there is no such process, when it is another process's thread, and when ours are not the kernel's numbers.
    pub fn check_process(&self, pid: u32) -> Result<(), HostError> {
        self.check_pids()?;
        self.find_process(pid)
    }

    /// Makes sure that our process ids are the kernel's. Where they are not, a holder seems to be nobody, or is somebody else.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub fn check_pids(&self) -> Result<(), HostError> {
        match self.pids {
            Pids::Kernel => Ok(()),
            Pids::Nested | Pids::NestedBelowProc => Err(HostError::NestedPids),
            Pids::ForeignProc | Pids::NoProc => self.check_proc(),
        }
    }

    /// What has to be known of process ids that the kernel tells, where they are not ours.
    pub(crate) fn foreign_pids(&self) -> Option<&'static str> {
        match self.pids {
            Pids::Kernel | Pids::ForeignProc | Pids::NoProc => None,
            Pids::Nested | Pids::NestedBelowProc => Some(
                "this is a nested pid namespace: process ids are the kernel's, of the initial one, and other processes have them here; only \
                 network namespaces of processes that are seen here were looked at",
            ),
        }
    }

    /// Makes sure that `/proc` tells of this process.
    ///
    /// # Errors
    ///
    /// When there is none, or it is another pid namespace's.
    pub fn check_proc(&self) -> Result<(), HostError> {
        match self.pids {
            Pids::Kernel | Pids::Nested | Pids::NestedBelowProc => Ok(()),
            Pids::ForeignProc => Err(HostError::ForeignProc),
            Pids::NoProc => Err(HostError::NoProc),
        }
    }

    /// Why `/proc` does not show every process, in words; `None` where it does.
    pub(crate) fn hidden_processes(&self) -> Option<String> {
        self.pids.hidden_processes(&self.proc)
    }

    /// Makes sure that `pid` is a process of our `/proc`.
    ///
    /// # Errors
    ///
    /// When there is no such process, and when it is another process's thread.
    pub fn find_process(&self, pid: u32) -> Result<(), HostError> {
        self.check_proc()?;
        let path = self.proc.join(pid.to_string()).join("status");
        match fs::read(&path) {
            Ok(status) => match thread_group(&status) {
                Some(process) if process != pid => Err(HostError::Thread { thread: pid, process }),
                _ => Ok(()),
            },
            Err(error) if is_absent(&error) => Err(HostError::NoProcess(pid)),
            Err(source) => Err(HostError::Read { path, source }),
        }
    }
}

/// No such file; also what `/proc/PID/…` says of a process that is just going away.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// `Tgid:` of `/proc/PID/status`.
fn thread_group(status: &[u8]) -> Option<u32> {
    value(status, b"Tgid:")?.parse().ok()
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

/// Whether this process ignores a signal, as it does where whoever executed it had it ignored (`nohup`).
pub(crate) fn ignores(signal: i32) -> bool {
    let status = fs::read("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|ignored| (1..=64).contains(&signal) && ignored >> (signal - 1) & 1 != 0)
}

/// `SigIgn:` of `/proc/PID/status`: bit 0 is signal 1.
fn ignored(status: &[u8]) -> Option<u64> {
    u64::from_str_radix(value(status, b"SigIgn:")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::{process, thread};

    use super::*;

    /// This machine, as one whose process ids are the kernel's.
    fn host() -> Host {
        Host { pids: Pids::Kernel, ..Host::detect() }
    }

    #[test]
    fn a_process_has_to_be_there() {
        assert!(host().check_process(process::id()).is_ok());
        // Beyond PID_MAX_LIMIT of include/linux/threads.h.
        let error = host().check_process(4_194_305).expect_err("no such process").to_string();
        assert_eq!(error, "no process `4194305`: `--pid` wants a running process");
    }

    #[test]
    fn a_thread_is_no_process() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let refused = thread::spawn(|| {
            let tid = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            (tid, host().check_process(tid).map_err(|error| error.to_string()))
        });
        let (tid, refused) = refused.join().map_err(|_| "the thread panicked")?;
        let process = process::id();
        let message =
            format!("`{tid}` is a thread of process `{process}`: sockets belong to processes; use `--pid {process}`");
        assert_eq!(refused, Err(message));
        Ok(())
    }

    #[test]
    fn pids_of_a_nested_namespace_are_refused() {
        for pids in [Pids::Nested, Pids::NestedBelowProc] {
            let nested = Host { pids, ..host() };
            assert!(matches!(nested.check_process(process::id()), Err(HostError::NestedPids)));
        }
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = process::Command::new("sleep").arg("10").spawn().expect("sleep starts");
        let found = descendants(&[process::id()]);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(found.contains(&child.id()), "{found:?}");
    }

    #[test]
    fn signals_are_bits() {
        let status = b"Name:\tsleep\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001001\n";
        assert_eq!(ignored(status), Some(1 << 63 | 1 << 12 | 1));
        assert_eq!(ignored(b""), None);
        // As the Rust runtime has it.
        assert!(ignores(libc::SIGPIPE));
        assert!(!ignores(libc::SIGKILL) && !ignores(0) && !ignores(65));
    }
}
