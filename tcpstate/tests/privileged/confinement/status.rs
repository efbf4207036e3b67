//! `/proc/PID/status`, and what else the kernel says of a process or a thread.

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};
use rustix::thread::CapabilitySet;

/// The lines of a status.
pub(crate) struct Status(HashMap<String, String>);

impl Status {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Self::read(&format!("/proc/{pid}/status"))
    }

    /// Of every thread of a process, by its number.
    pub(crate) fn of_threads(pid: u32) -> Result<Vec<(u32, Self)>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let tid = entry?.file_name().to_string_lossy().parse()?;
            // Some live for a moment only.
            if let Ok(status) = Self::read(&format!("/proc/{pid}/task/{tid}/status")) {
                threads.push((tid, status));
            }
        }
        Ok(threads)
    }

    fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("`{path}`"))?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(Self(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("no `{name}`"))
    }

    /// The four ids of `Uid` or `Gid`.
    pub(crate) fn ids(&self, name: &str) -> Result<Vec<u32>> {
        self.get(name)?.split_whitespace().map(|id| Ok(id.parse()?)).collect()
    }

    /// One of the sets, such as `CapEff`.
    pub(crate) fn capabilities(&self, name: &str) -> Result<CapabilitySet> {
        Ok(CapabilitySet::from_bits_retain(u64::from_str_radix(self.get(name)?, 16)?))
    }
}

/// The soft and the hard limit of a process.
pub(crate) fn limit(pid: u32, name: &str) -> Result<[String; 2]> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no `{name}`"))?;
    let mut words = line.split_whitespace().map(str::to_owned);
    Ok([words.next().context("soft")?, words.next().context("hard")?])
}
