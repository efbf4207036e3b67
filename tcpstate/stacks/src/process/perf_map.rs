//! Where a runtime writes the names of the code it compiles: `/tmp/perf-PID.map`
//! (`tools/perf/Documentation/jit-interface.txt`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

use super::{files, stat::field};

/// How much earlier than the process a map may seem to be: its start is known to a clock tick, and file systems stamp files
/// with the time of the last tick (`current_time()`, `fs/inode.c`) or round it to a second.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The perf map of one process, if it writes one.
///
/// Named after the pid that the process has in its own pid namespace, in the `/tmp` of its own mount namespace. Held open
/// once seen, so that the names outlive the process.
#[derive(Debug)]
pub struct PerfMapFile {
    pid: u32,
    held: OnceLock<File>,
}

/// Why there is no perf map.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PerfMapError {
    /// There is no such file, or no such process any more.
    #[error("no perf map")]
    None,
    /// There is a file, and this is why it is not believed.
    #[error("{0}")]
    Unfit(String),
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
    pub(crate) fn hold(&self) {
        if self.held.get().is_none()
            && let Ok(file) = open(self.pid)
        {
            // Another thread may have been faster, with the same file.
            let _ = self.held.set(file);
        }
    }

    /// The file as it is now, or as it was held.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn open(&self) -> Result<File, PerfMapError> {
        self.hold();
        open(self.pid).or_else(|error| self.held.get().and_then(|file| file.try_clone().ok()).ok_or(error))
    }
}

impl From<io::Error> for PerfMapError {
    fn from(_: io::Error) -> Self {
        Self::None
    }
}

/// Opens the map of a living process.
///
/// A file that belongs neither to the process's user nor to root is refused, as perf does: `/tmp` is everybody's. So is one
/// that was last written before the process began: it is of an earlier one that had the same pid, as the first processes of
/// a container have each time. A process keeps its start when it executes another program, so what it wrote before that is
/// believed.
fn open(pid: u32) -> Result<File, PerfMapError> {
    // A name need not be UTF-8.
    let status = fs::read(format!("/proc/{pid}/status"))?;
    let (inner_pid, uid) = identity(&String::from_utf8_lossy(&status)).ok_or(PerfMapError::None)?;
    let path = PathBuf::from(format!("/tmp/perf-{inner_pid}.map"));
    let file = files::open_in_root(pid, &path)?;
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    if owner != uid && owner != 0 {
        return Err(unfit(&path, &format!("belongs to user {owner}, not to that of the process")));
    }
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    let started = started(&stat).ok_or(PerfMapError::None)?;
    if metadata.modified()? + TOLERANCE < started {
        return Err(unfit(&path, "is older than the process"));
    }
    Ok(file)
}

fn unfit(path: &Path, why: &str) -> PerfMapError {
    PerfMapError::Unfit(format!("`{}` {why} and is not read", path.display()))
}

/// When the process began, by the clock that stamps files, from `/proc/PID/stat`: that counts from the start of the system,
/// in the time namespace of who reads it (`do_task_stat()`, `fs/proc/array.c`, Linux 6.18), as `CLOCK_BOOTTIME` does.
fn started(stat: &[u8]) -> Option<SystemTime> {
    const START_TIME: usize = 22;
    let ticks = field(stat, START_TIME)?;
    let rate = clock_ticks_per_second();
    let after_boot =
        Duration::from_secs(ticks / rate) + Duration::from_secs(ticks % rate) / u32::try_from(rate).ok()?;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    SystemTime::now().checked_sub(since_boot.checked_sub(after_boot)?)
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
    use std::process;

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
        assert!(matches!(PerfMapFile::new(u32::MAX).open(), Err(PerfMapError::None)));
    }

    #[test]
    fn own_start() {
        let stat = fs::read("/proc/self/stat").expect("own stat");
        let started = started(&stat).expect("own start");
        let age = SystemTime::now().duration_since(started).expect("it is in the past");
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn a_map_of_an_earlier_process_is_refused() {
        let path = format!("/tmp/perf-{}.map", process::id());
        fs::write(&path, "1000 10 old\n").expect("`/tmp` is writable");
        let write = |modified: SystemTime| {
            let file = File::options().write(true).open(&path).expect("own file");
            file.set_modified(modified).expect("own file");
        };
        let map = PerfMapFile::new(process::id());
        write(SystemTime::now() - Duration::from_secs(7 * 24 * 3600));
        let refused = map.open();
        write(SystemTime::now());
        let accepted = map.open();
        fs::remove_file(&path).expect("own file");
        let error = refused.expect_err("it is old").to_string();
        assert_eq!(error, format!("`{path}` is older than the process and is not read"));
        accepted.expect("it is new");
    }
}
