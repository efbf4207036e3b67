//! cgroups of the tests' own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::process::Actor;

/// Where cgroup2 is mounted.
pub(crate) fn cgroup2_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let cgroup2 = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    });
    cgroup2.context("no cgroup2 is mounted here")
}

/// A cgroup of the test's own, removed when nobody is left in it.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        fs::create_dir(path).with_context(|| format!("`{}`", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn take(&self, actor: &Actor) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), actor.pid.to_string())
            .with_context(|| format!("to move {} into `{}`", actor.pid, self.0.display()))
    }
}

impl Cgroup {
    /// Freezes its processes, or lets them go on; returns when that is so.
    pub(crate) fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (frozen, file) = (u8::from(frozen), self.0.join("cgroup.freeze"));
        fs::write(&file, frozen.to_string()).with_context(|| format!("`{}`", file.display()))?;
        for _ in 0..400 {
            let is_frozen = format!("frozen {frozen}");
            if fs::read_to_string(self.0.join("cgroup.events"))?.lines().any(|line| line == is_frozen) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("`{}` does not get to `frozen {frozen}`", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Variables are dropped in reverse order, so the processes are gone; they may still be on their way out.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("`{}` could not be removed", self.0.display());
    }
}
