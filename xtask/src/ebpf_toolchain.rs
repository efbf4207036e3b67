//! Where `cargo xtask setup` leaves what builds the BPF programs, and where `tcpstate/build.rs`, which includes this file,
//! finds it.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The rustup toolchain that setup links: a nightly with its library sources, or the distribution's compiler with them.
pub(crate) const NAME: &str = "tcpstate-ebpf";

/// The directory below which setup installs what cargo builds for it, in `bin`. `None` when neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn tools_dir() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(cache.join("tcpstate/tools"))
}

/// Where `core`, the dependencies and the BPF programs are compiled, given cargo's target directory. The object is the same
/// for every profile and set of features of the user space around it.
pub(crate) fn build_dir(target_dir: &Path) -> PathBuf {
    target_dir.join("bpf")
}
