//! What this machine has: read here, judged in `plan`.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::tools::{Scope, Tool};
use crate::ebpf_toolchain;

/// A compiler's release, without its patch level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u32, pub(crate) u32);

impl Release {
    /// The oldest compiler that builds this workspace.
    pub(crate) fn oldest() -> Self {
        Self::parse(env!("CARGO_PKG_RUST_VERSION")).unwrap_or(Self(1, 88))
    }

    /// Reads `1.96.0`, `1.97.0-nightly` and `1.96.0+dfsg1-1~deb12u2` alike.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A compiler that could build the BPF programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) sysroot: PathBuf,
    pub(crate) release: Release,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
    /// It has the sources of `core` (no `core` is shipped for BPF) and clippy.
    pub(crate) complete: bool,
}

impl Compiler {
    fn read(sysroot: &Path) -> Option<Self> {
        let sysroot = sysroot.canonicalize().ok()?;
        let text = output(Command::new(sysroot.join("bin/rustc")).arg("-vV"))?;
        let (release, llvm) = parse_rustc(&text)?;
        let complete = ["lib/rustlib/src/rust/library/core/src/lib.rs", "bin/cargo-clippy", "bin/clippy-driver"]
            .iter()
            .all(|file| sysroot.join(file).exists());
        Some(Self { sysroot, release, llvm, complete })
    }
}

/// A `bpf-linker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// Major version of the LLVM it is built on: it reads the bitcode of this one and older ones.
    pub(crate) llvm: u32,
}

/// What is in use; quick to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    /// The compiler that [`ebpf_toolchain::NAME`] links to.
    pub(crate) linked: Option<Compiler>,
    /// The `bpf-linker` that a build finds first.
    pub(crate) linker: Option<Linker>,
    /// `cargo-deny`, which checks licences and sources of dependencies, is asked for and missing.
    pub(crate) lacks_cargo_deny: bool,
    /// Components that the compiler of the host crates lacks.
    pub(crate) stable_lacks: Vec<&'static str>,
    pub(crate) tools_missing: Vec<&'static Tool>,
}

impl Present {
    pub(crate) fn read(scope: Scope) -> Self {
        let linked = toolchains().and_then(|dir| Compiler::read(&dir.join(ebpf_toolchain::NAME)));
        let linker = linker();
        let lacks_cargo_deny = scope.tests && installed("cargo-deny").is_none();
        let stable_lacks = if scope.tests { stable_lacks() } else { Vec::new() };
        let tools_missing = scope.tools().filter(|tool| tool.is_missing()).collect();
        Self { linked, linker, lacks_cargo_deny, stable_lacks, tools_missing }
    }
}

/// What there is to choose from; read only when something is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers {
    /// The installed nightly.
    pub(crate) nightly: Option<Compiler>,
    /// The distribution's compiler.
    pub(crate) distribution: Option<Compiler>,
    /// `None` where there is no apt.
    pub(crate) apt: Option<Apt>,
}

impl Offers {
    pub(crate) fn read() -> Self {
        // Asking for a toolchain must not install it.
        let nightly = output(
            Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]).env("RUSTUP_AUTO_INSTALL", "0"),
        );
        Self {
            nightly: nightly.and_then(|rustc| Compiler::read(Path::new(rustc.trim()).parent()?.parent()?)),
            distribution: Compiler::read(Path::new("/usr")),
            apt: Apt::read(),
        }
    }
}

/// One package that apt knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AptPackage {
    pub(crate) installed: bool,
    /// The version that apt would install.
    pub(crate) candidate: Option<String>,
}

/// The packages we may ask for, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apt {
    pub(crate) packages: BTreeMap<String, AptPackage>,
}

impl Apt {
    /// `None` where there is no apt.
    fn read() -> Option<Self> {
        which::which("apt-get").ok()?;
        // It fails where no list has been fetched yet: then nothing is known.
        let known = output(Command::new("apt-cache").arg("pkgnames")).unwrap_or_default();
        let names = known.lines().filter(|name| super::plan::may_ask_for(name));
        let policy = output(Command::new("apt-cache").arg("policy").args(names).env("LC_ALL", "C")).unwrap_or_default();
        Some(Self { packages: parse_policy(&policy) })
    }
}

/// Release and LLVM major version out of `rustc -vV`.
fn parse_rustc(text: &str) -> Option<(Release, u32)> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some((Release::parse(field("release:")?)?, field("LLVM version:")?.split('.').next()?.parse().ok()?))
}

/// The major version in what LLVM prints for `--version`, such as `Debian LLVM version 22.1.8`.
fn parse_llvm(text: &str) -> Option<u32> {
    text.split_once("LLVM version ")?.1.split('.').next()?.parse().ok()
}

/// Reads `apt-cache policy NAME…`.
pub(crate) fn parse_policy(text: &str) -> BTreeMap<String, AptPackage> {
    let version = |value: &str| Some(value.trim()).filter(|&value| value != "(none)").map(str::to_owned);
    let mut packages = BTreeMap::new();
    let mut current: Option<&mut AptPackage> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            current = Some(packages.entry(name.to_owned()).or_default());
        } else if let Some(package) = current.as_mut() {
            if let Some(value) = line.strip_prefix("  Installed:") {
                package.installed = version(value).is_some();
            } else if let Some(value) = line.strip_prefix("  Candidate:") {
                package.candidate = version(value);
            }
        }
    }
    packages
}

/// Where a program is that cargo has installed: ours, or else anybody's.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let ours = ebpf_toolchain::tools_dir().map(|dir| dir.join("bin").join(program)).filter(|path| path.exists());
    ours.or_else(|| which::which(program).ok())
}

/// The `bpf-linker` that build scripts find first.
fn linker() -> Option<Linker> {
    let path = installed("bpf-linker")?;
    // It has no option of its own that tells which LLVM it is built on.
    let text = output(Command::new(&path).args(["--llvm-args=--version", "--output", "/dev/null", "/dev/null"]))?;
    Some(Linker { llvm: parse_llvm(&text)?, path })
}

/// Which of the components that the tests need the running cargo's toolchain does not have.
fn stable_lacks() -> Vec<&'static str> {
    let cargo = env::var_os("CARGO").map(PathBuf::from);
    let Some(bin) = cargo.as_deref().and_then(Path::parent) else { return Vec::new() };
    [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")]
        .into_iter()
        .filter_map(|(component, file)| (!bin.join(file).exists()).then_some(component))
        .collect()
}

/// Where rustup keeps its toolchains.
fn toolchains() -> Option<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))?;
    fs::canonicalize(home.join("toolchains")).ok()
}

/// Standard output of a command that succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::{AptPackage, Release, parse_llvm, parse_policy, parse_rustc};

    #[test]
    fn reads_every_spelling_of_a_release() {
        for text in ["1.96", "1.96.0", "1.96.0-nightly", "1.96.0+dfsg1-1~deb12u2"] {
            assert_eq!(Release::parse(text), Some(Release(1, 96)), "{text}");
        }
        for text in ["", "1", "(none)", "1.x"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
        assert!(Release(1, 100) > Release(1, 99));
    }

    #[test]
    fn reads_a_compiler() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_rustc(text), Some((Release(1, 97), 22)));
        assert_eq!(parse_rustc("rustc 1.97.0\nrelease: 1.97.0\n"), None);
    }

    #[test]
    fn reads_the_llvm_of_a_linker() {
        assert_eq!(parse_llvm("Debian LLVM version 22.1.8\n  Optimized build.\n"), Some(22));
        assert_eq!(parse_llvm("LLVM (http://llvm.org/):\n  LLVM version 23.0.0git\n"), Some(23));
        assert_eq!(parse_llvm("bpf-linker 0.13.0\n"), None);
    }

    #[test]
    fn reads_a_policy() {
        let text = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n\
                    \u{20}    1.96.0+dfsg1-1~deb12u2 500\n        500 mirror bookworm-security/main amd64 Packages\n\
                    gcc:\n  Installed: 4:12.2.0-3\n  Candidate: 4:12.2.0-3\n  Version table:\n\
                    llvm-22-dev:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let packages = parse_policy(text);
        let web = AptPackage { installed: false, candidate: Some("1.96.0+dfsg1-1~deb12u2".into()) };
        let gcc = AptPackage { installed: true, candidate: Some("4:12.2.0-3".into()) };
        assert_eq!(packages.len(), 3);
        assert_eq!(packages.get("rustc-web"), Some(&web));
        assert_eq!(packages.get("gcc"), Some(&gcc));
        assert_eq!(packages.get("llvm-22-dev"), Some(&AptPackage::default()));
    }
}
