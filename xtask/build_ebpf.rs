//! What the build scripts of crates that embed BPF objects include: how their BPF crates are built.

use std::{env, path::Path};

use anyhow::Context as _;
use aya_build::{Package, Toolchain};

#[path = "src/ebpf_toolchain.rs"]
mod ebpf_toolchain;

/// Builds the binaries of the BPF crate `name` in `root`, which uses the crates in `uses`, and leaves each, by its name, in
/// `OUT_DIR`. Paths are relative to the crate whose build script this is.
///
/// # Errors
///
/// The build failed; the error says what a machine without the toolchain needs.
pub(crate) fn build(name: &str, root: &str, uses: &[&str]) -> anyhow::Result<()> {
    for path in uses {
        println!("cargo:rerun-if-changed={path}");
    }
    let mut path: Vec<_> = ebpf_toolchain::tools_dir().map(|dir| dir.join("bin")).into_iter().collect();
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let out_dir = env::var_os("OUT_DIR").context("cargo sets no `OUT_DIR`")?;
    // cargo marks its target directories as caches.
    let target_dir = Path::new(&out_dir).ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let target_dir = target_dir.unwrap_or(Path::new(&out_dir));
    // SAFETY: a build script starts with one thread, and none has been started yet.
    unsafe {
        env::set_var("PATH", env::join_paths(path)?);
        // A distribution's stable compiler needs it for `-Z build-std`; a nightly ignores it.
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // aya-build has a target directory of its own for each `OUT_DIR`: let them share what they compile.
        env::set_var("CARGO_BUILD_BUILD_DIR", ebpf_toolchain::build_dir(target_dir));
        // aya-build makes a warning of each line that cargo prints, and cargo repeats warnings with every build.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    aya_build::build_ebpf(
        [Package { name, root_dir: root, ..Package::default() }],
        Toolchain::Custom(ebpf_toolchain::NAME),
    )
    .context(
        "the BPF programs were not built; if the compiler or `bpf-linker` is missing, `cargo xtask setup` installs it",
    )
}
