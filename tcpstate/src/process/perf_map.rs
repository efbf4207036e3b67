//! Where a runtime writes the names of the code it compiles: `/tmp/perf-PID.map`
//! (`tools/perf/Documentation/jit-interface.txt`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::OnceLock,
};

use super::files;

/// The perf map of one process, if it writes one.
///
/// Named after the pid that the process has in its own pid namespace, in the `/tmp` of its own mount namespace. Held open
/// once seen, so that the names outlive the process.
#[derive(Debug)]
pub struct PerfMapFile {
    pid: u32,
    held: OnceLock<File>,
}

impl PerfMapFile {
    /// That of process `pid`. Opens nothing yet.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid, held: OnceLock::new() }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Opens the file while the process lives, and keeps it.
    pub fn hold(&self) {
        if self.held.get().is_none()
            && let Ok(file) = open(self.pid)
        {
            // Another thread may have been faster, with the same file.
            let _ = self.held.set(file);
        }
    }

    /// The file as it is now, or as it was held. `None`: there is none.
    #[must_use]
    pub fn open(&self) -> Option<File> {
        self.hold();
        match open(self.pid) {
            Ok(file) => Some(file),
            Err(_) => self.held.get().and_then(|file| file.try_clone().ok()),
        }
    }
}

/// Opens the map of a living process. A file that belongs neither to the process's user nor to root is refused, as perf
/// does: `/tmp` is everybody's.
fn open(pid: u32) -> io::Result<File> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let (inner_pid, uid) = identity(&status).ok_or(io::ErrorKind::InvalidData)?;
    let file = files::open_in_root(pid, &PathBuf::from(format!("/tmp/perf-{inner_pid}.map")))?;
    let owner = file.metadata()?.uid();
    if owner == uid || owner == 0 { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// The pid in the innermost namespace and the effective uid, from `/proc/PID/status`.
fn identity(status: &str) -> Option<(u32, u32)> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let pid = field("NStgid").or_else(|| field("Tgid"))?.split_ascii_whitespace().next_back()?.parse().ok()?;
    let uid = field("Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((pid, uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_pid_counts() {
        let status = "Name:\tTgid:\nTgid:\t4711\nUid:\t1000\t1001\t1000\t1000\nNStgid:\t4711\t12\t1\n";
        assert_eq!(identity(status), Some((1, 1001)));
        assert_eq!(identity("Tgid:\t4711\nUid:\t0\t0\t0\t0\n"), Some((4711, 0)));
        assert_eq!(identity(""), None);
    }

    #[test]
    fn no_map_is_none() {
        assert!(PerfMapFile::new(u32::MAX).open().is_none());
    }
}
