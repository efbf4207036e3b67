//! Builds the BPF programs and leaves the object in `OUT_DIR/tcpstate-ebpf`, from where the binary embeds it.

use std::{env, path::PathBuf};

use aya_build::{Package, Toolchain};

/// What `cargo xtask setup` links: a nightly with `rust-src`, or the distribution's compiler with its sources.
const TOOLCHAIN: &str = "tcpstate-ebpf";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=../tcpstate-common");
    let mut path = vec![tools_dir()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    // SAFETY: a build script starts with one thread, and none has been started yet.
    unsafe {
        env::set_var("PATH", env::join_paths(path)?);
        // A distribution's stable compiler needs it for `-Z build-std`; a nightly ignores it.
        env::set_var("RUSTC_BOOTSTRAP", "1");
    }
    aya_build::build_ebpf(
        [Package { name: "tcpstate-ebpf", root_dir: "../tcpstate-ebpf", ..Package::default() }],
        Toolchain::Custom(TOOLCHAIN),
    )
}

/// Where `cargo xtask setup` puts `bpf-linker`.
fn tools_dir() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("tcpstate/tools/bin")
}
