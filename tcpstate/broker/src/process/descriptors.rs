//! Descriptors of a process, and how many it may have.

use std::fs;

use super::thread;

/// Open descriptors of a process; `None` when it is gone or not ours to look at.
#[must_use]
pub fn open(pid: u32) -> Option<u64> {
    let directory = thread::file(pid, "fd");
    // Since 6.2 the size of the directory is their number (`proc_readfd_count()`, `fs/proc/fd.c`).
    let counted = fs::metadata(&directory).ok()?.len();
    if counted > 0 { Some(counted) } else { Some(fs::read_dir(directory).ok()?.count() as u64) }
}

/// `RLIMIT_NOFILE` of a process, soft; `None` when it is unlimited or unknown.
#[must_use]
pub fn limit(pid: u32) -> Option<u64> {
    soft_limit(&fs::read_to_string(thread::file(pid, "limits")).ok()?)
}

fn soft_limit(limits: &str) -> Option<u64> {
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    files.split_ascii_whitespace().next()?.parse().ok()
}

/// Name of a process: that of its first thread.
#[must_use]
pub fn comm(pid: u32) -> Option<tcpstate_core::model::Comm> {
    let text = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut comm = [0; tcpstate_common::COMM_LEN];
    let len = name.len().min(comm.len() - 1);
    comm[..len].copy_from_slice(&name[..len]);
    Some(tcpstate_core::model::Comm(comm))
}

/// Whether there is a process of this number, be it one that nobody has waited for yet.
#[must_use]
pub fn lives(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let own = std::process::id();
        let files: Vec<_> = (0..40).map(|_| fs::File::open("/dev/null").expect("the null device")).collect();
        assert!(open(own).is_some_and(|now| now > files.len() as u64));
        assert_eq!(limit(own), rustix::process::getrlimit(rustix::process::Resource::Nofile).current);
        assert!(lives(own) && !lives(u32::MAX));
        assert!(comm(own).is_some_and(|comm| !comm.bytes().is_empty()));
    }

    #[test]
    fn limits() {
        assert_eq!(
            soft_limit("Max cpu time   unlimited\nMax open files            1024    4096   files\n"),
            Some(1024)
        );
        assert_eq!(soft_limit("Max open files            unlimited    unlimited   files\n"), None);
        assert_eq!(soft_limit(""), None);
    }
}
