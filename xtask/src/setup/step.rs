//! How each step of a plan is done.

use std::{
    ffi::OsStr,
    fmt::{self, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use super::plan::{Need, Step};
use crate::{cargo, ebpf_toolchain, process};

/// A machine without access to Rust's server may leave a download hanging. Components are a few MB.
const COMPONENTS_LIMIT: Duration = Duration::from_secs(30);
/// A whole toolchain is 100 MB; a server that says nothing is noticed by rustup itself, see [`rustup`].
const TOOLCHAIN_LIMIT: Duration = Duration::from_secs(300);

impl Step {
    /// The command that does it.
    ///
    /// # Errors
    ///
    /// There is no home to install to.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        Ok(match self {
            Self::AptUpdate => apt_get(&["update"], &[]),
            // A package that would take the place of another is the user's decision.
            Self::AptInstall(packages) => {
                apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"], packages)
            }
            Self::StableComponents(components) => rustup(&["component", "add"], components),
            Self::NightlyComponents => rustup(&["component", "add", "--toolchain", "nightly"], &["rust-src", "clippy"]),
            Self::Nightly => rustup(
                &["toolchain", "install", "nightly", "--no-self-update", "--profile", "minimal"],
                &["--component", "rust-src,clippy"],
            ),
            Self::Link(sysroot) => {
                let mut command = Command::new("rustup");
                command.args(["toolchain", "link", ebpf_toolchain::NAME]).arg(sysroot);
                command
            }
            Self::BpfLinker { llvm } => bpf_linker(*llvm)?,
            Self::CargoDeny => cargo_deny()?,
        })
    }

    /// Whether its command wants root.
    pub(crate) fn needs_root(&self) -> bool {
        matches!(self, Self::AptUpdate | Self::AptInstall(_))
    }

    /// How long its command may take.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self {
            Self::StableComponents(_) | Self::NightlyComponents => Some(COMPONENTS_LIMIT),
            Self::Nightly => Some(TOOLCHAIN_LIMIT),
            Self::AptUpdate | Self::AptInstall(_) | Self::Link(_) | Self::BpfLinker { .. } | Self::CargoDeny => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AptUpdate => f.write_str("bring apt's package lists up to date"),
            Self::AptInstall(_) => f.write_str("install packages"),
            Self::StableComponents(_) => f.write_str("add what the tests need to the stable toolchain"),
            Self::NightlyComponents => f.write_str("add library sources and clippy to the nightly toolchain"),
            Self::Nightly => f.write_str("install a nightly toolchain with its library sources"),
            Self::Link(sysroot) => {
                write!(f, "build BPF programs with the compiler in `{}`", sysroot.display())
            }
            Self::BpfLinker { llvm } => write!(f, "build bpf-linker on LLVM {llvm} (a minute or two)"),
            Self::CargoDeny => f.write_str("build cargo-deny (a minute or two)"),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => f.write_str(
                "a compiler with the sources of `core`, for the BPF programs: \
                 `rustup toolchain install nightly --component rust-src,clippy`",
            ),
            Self::Linker(llvm) => write!(
                f,
                "`bpf-linker` on LLVM {llvm} or newer, as the compiler of the BPF programs has LLVM {llvm}: install your \
                 distribution's, or LLVM {llvm}'s development files and \
                 `cargo install bpf-linker --no-default-features --features llvm-{llvm}`"
            ),
            Self::StableComponents(components) => {
                write!(f, "components of the stable toolchain: `rustup component add {}`", components.join(" "))
            }
            Self::Tool(tool) => {
                write!(f, "`{}` (Debian's package {}), which {}", tool.command, tool.package, tool.why)
            }
        }
    }
}

/// `items`, one a line.
pub(super) fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().fold(String::new(), |mut list, item| {
        // Writing to a string cannot fail.
        let _ = write!(list, "\n  - {item}");
        list
    })
}

fn apt_get(arguments: &[&str], packages: &[String]) -> Command {
    // sudo drops the environment: `env` sets it on the other side.
    let mut command = process::as_root(OsStr::new("env"));
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    // Somebody else may be installing something.
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).args(packages);
    command
}

/// rustup, told not to wait long for a server that does not answer.
fn rustup(arguments: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(arguments).args(more).envs([("RUSTUP_MAX_RETRIES", "0"), ("RUSTUP_DOWNLOAD_TIMEOUT", "20")]);
    command
}

fn bpf_linker(llvm: u32) -> anyhow::Result<Command> {
    let mut command = cargo_install("bpf-linker")?;
    command
        .args(["--features", &format!("llvm-{llvm}")])
        .env("LLVM_PREFIX", Path::new("/usr/lib").join(format!("llvm-{llvm}")));
    Ok(command)
}

/// Its own profile optimizes for many minutes what here runs for a second.
fn cargo_deny() -> anyhow::Result<Command> {
    let mut command = cargo_install("cargo-deny")?;
    command.args(["--version", "^0.20"]).envs([
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ]);
    Ok(command)
}

fn cargo_install(package: &str) -> anyhow::Result<Command> {
    let root = ebpf_toolchain::tools_dir().context("neither `XDG_CACHE_HOME` nor `HOME` is set: set one of them")?;
    let mut command = cargo::command();
    command.args(["install", package, "--locked", "--force", "--no-default-features", "--root"]).arg(root);
    Ok(command)
}
