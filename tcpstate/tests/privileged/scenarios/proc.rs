//! What `/proc` says of the processes of a scenario.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Inodes of the sockets that a process has descriptors of, once for each descriptor.
pub(crate) fn socket_inodes(pid: u32) -> Result<Vec<u64>> {
    let path = format!("/proc/{pid}/fd");
    let mut inodes = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("`{path}`"))? {
        // A descriptor that was closed meanwhile has no target any more.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.map(str::parse::<u64>).transpose()?);
    }
    Ok(inodes)
}

/// How many threads sleep in this system call.
pub(crate) fn threads_in(pid: u32, syscall: i64) -> Result<usize> {
    // `running`, or the number, the arguments, the stack pointer and the instruction pointer.
    let numbers = of_threads(pid, "syscall")?;
    Ok(numbers.iter().filter(|line| line.split(' ').next() == Some(&syscall.to_string())).count())
}

/// Names of the threads of a process.
pub(crate) fn thread_names(pid: u32) -> Result<HashSet<String>> {
    Ok(of_threads(pid, "comm")?.into_iter().collect())
}

fn of_threads(pid: u32, file: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/task");
    let mut contents = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("`{path}`"))? {
        // A thread may end while it is looked at.
        if let Ok(line) = fs::read_to_string(entry?.path().join(file)) {
            contents.push(line.trim_end().to_owned());
        }
    }
    Ok(contents)
}

/// The files whose code a process has mapped, as this process can open them.
pub(crate) fn executables(pid: u32) -> Result<HashSet<PathBuf>> {
    let path = format!("/proc/{pid}/maps");
    let maps = fs::read_to_string(&path).with_context(|| format!("`{path}`"))?;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mapped = maps.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let path = Path::new(OsStr::new(fields.get(5)?)).strip_prefix("/").ok()?;
        fields[1].contains('x').then(|| root.join(path))
    });
    Ok(mapped.collect())
}

/// Where a just-in-time compiler tells which of its functions is where (the convention of `perf`).
pub(crate) fn perf_map(pid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{pid}.map"))
}

/// Removes the map of a process, which no interpreter does.
pub(crate) struct PerfMap(u32);

impl PerfMap {
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid)
    }
}

impl Drop for PerfMap {
    fn drop(&mut self) {
        let path = perf_map(self.0);
        if let Err(error) = fs::remove_file(&path) {
            eprintln!("`{}`: {error}", path.display());
        }
    }
}
