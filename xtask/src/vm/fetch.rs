//! Kernels, as they are kept outside the source tree.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, ensure};

use super::{apt::Suite, kernels::Kernel, modules};
use crate::ebpf_toolchain;

/// Loaded in every guest, as far as its kernel has them: what `ss` asks, and devices and disciplines of tests.
const MODULES: [&str; 11] = [
    "veth",
    "dummy",
    "tun",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "unix_diag",
    "mptcp_diag",
    "sch_netem",
    "overlay",
    "fuse",
];

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// As `uname -r` says.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// Modules to load, dependencies first.
    pub(crate) modules: Vec<PathBuf>,
}

/// Fetches the newest patch level of `kernel`, unless it is there.
///
/// # Errors
///
/// It cannot be found, fetched or unpacked.
pub(crate) fn fetch(kernel: &Kernel) -> anyhow::Result<Fetched> {
    let cache = cache()?;
    let suite = Suite::open(&cache, kernel.suite, kernel.security)?;
    let packages = suite.newest(kernel)?;
    let target = cache.join("kernels").join(&packages.release);
    if !target.exists() {
        let unfinished = target.with_extension(format!("{}.unfinished", process::id()));
        fs::create_dir_all(&unfinished)?;
        suite.unpack(&packages, &unfinished)?;
        index(&unfinished, &packages.release)?;
        keep(&unfinished, &target)?;
    }
    read(&target, packages.release)
}

/// Gives what has been made its place.
///
/// # Errors
///
/// There is none to be had.
pub(super) fn keep(unfinished: &Path, target: &Path) -> anyhow::Result<()> {
    if let Err(error) = fs::rename(unfinished, target) {
        // Somebody else may have been faster.
        fs::remove_dir_all(unfinished)?;
        ensure!(target.exists(), "`{}` cannot be made: {error}", target.display());
    }
    Ok(())
}

/// Where kernels, package lists and QEMU are kept.
///
/// # Errors
///
/// Nothing in the environment says where.
pub(super) fn cache() -> anyhow::Result<PathBuf> {
    let tools = ebpf_toolchain::tools_dir().context("neither `XDG_CACHE_HOME` nor `HOME` is set: set one of them")?;
    Ok(tools.with_file_name("vm"))
}

/// `lib`, which newer packages have in `/usr`.
fn root(directory: &Path) -> PathBuf {
    let usr = directory.join("usr");
    if usr.join("lib/modules").exists() { usr } else { directory.to_owned() }
}

/// Has depmod, which a package's installation would run, find the dependencies of modules.
fn index(directory: &Path, release: &str) -> anyhow::Result<()> {
    let mut depmod = Command::new("/sbin/depmod");
    depmod.arg("--basedir").arg(root(directory)).arg(release);
    let output = depmod.output().context("failed to run `depmod`")?;
    ensure!(output.status.success(), "`depmod` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn read(directory: &Path, release: String) -> anyhow::Result<Fetched> {
    let modules = root(directory).join("lib/modules").join(&release);
    let images = [directory.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|path| path.exists());
    let image =
        image.with_context(|| format!("`{}` has no vmlinuz: remove it to fetch it anew", directory.display()))?;
    let path = modules.join("modules.dep");
    let dependencies = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
    let modules = modules::in_order(&dependencies, &MODULES).into_iter().map(|module| modules.join(module)).collect();
    Ok(Fetched { release, image, modules })
}
