//! Where a runtime writes the names of the code it compiles: `/tmp/perf-PID.map`
//! (`tools/perf/Documentation/jit-interface.txt`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

use super::{
    files::{self, Accessor},
    start, stat,
};

/// How much earlier than the process a map may seem to be: its start is known to a clock tick, and file systems stamp files
/// with the time of the last tick (`current_time()`, `fs/inode.c`) or round it to a second.
const TOLERANCE: Duration = Duration::from_secs(2);

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

/// Opens the perf map of process `pid`, which began at that clock tick: named after the pid that it has in its own pid namespace, in the
/// `/tmp` of its own mount namespace.
///
/// # Errors
///
/// Why there is none, or not one of this process.
pub(crate) fn open(pid: u32, began: Option<u64>) -> Result<File, PerfMapError> {
    let file = open_now(pid);
    // Asked last, it holds of what was opened before.
    if began.is_none() || start::ticks(pid) != began {
        return Err(PerfMapError::None);
    }
    file
}

/// The process that forked another one, as long as both live; `None` of the first process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    const PARENT: usize = 4;
    let parent = stat::field(&fs::read(format!("/proc/{pid}/stat")).ok()?, PARENT)?;
    u32::try_from(parent).ok().filter(|&parent| parent > 1)
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
fn open_now(pid: u32) -> Result<File, PerfMapError> {
    // A name need not be UTF-8.
    let status = fs::read(format!("/proc/{pid}/status"))?;
    let (inner_pid, uid) = identity(&String::from_utf8_lossy(&status)).ok_or(PerfMapError::None)?;
    let path = PathBuf::from(format!("/tmp/perf-{inner_pid}.map"));
    let accessor = Accessor::of(pid).ok_or(PerfMapError::None)?;
    let file = match files::open_itself_in_root(pid, &path, &accessor) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PerfMapError::None),
        Err(error) => return Err(unfit(&path, &format!("cannot be opened ({error})"))),
    };
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
    let ticks = start::in_stat(stat)?;
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
        assert!(matches!(open(u32::MAX, None), Err(PerfMapError::None)));
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
        let (pid, began) = (process::id(), start::ticks(process::id()));
        write(SystemTime::now() - Duration::from_secs(7 * 24 * 3600));
        let refused = open(pid, began);
        write(SystemTime::now());
        let accepted = open(pid, began);
        fs::remove_file(&path).expect("own file");
        let error = refused.expect_err("it is old").to_string();
        assert_eq!(error, format!("`{path}` is older than the process and is not read"));
        accepted.expect("it is new");
    }
}
