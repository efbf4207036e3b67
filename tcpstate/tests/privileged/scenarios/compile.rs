//! Builds the programs, each once for its sources and flags.

use std::{
    fs::{self, DirBuilder},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, ensure};

/// As most distributions build.
pub(crate) const NO_FRAME_POINTERS: &str = "-fomit-frame-pointer";
pub(crate) const FRAME_POINTERS: &str = "-fno-omit-frame-pointer";

/// Where the sources are.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios")).join(path)
}

/// A C program: optimized, with symbols and `.eh_frame`, without debug info unless the flags ask for it.
pub(crate) fn c(path: &str, flags: &[&str]) -> Result<PathBuf> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-O2", "-Wall", "-Wextra"]).args(flags);
    built(gcc, "-o", path, &["c/serve.h"])
}

/// The attackers, and their good neighbour.
pub(crate) fn hostile(name: &str) -> Result<PathBuf> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-O2", "-Wall", "-Wextra", NO_FRAME_POINTERS]);
    // Functions that do the same are to have names of their own.
    gcc.arg("-fno-ipa-icf");
    let headers = ["leak", "files", "memory", "names", "processes"].map(|header| format!("hostile/{header}.h"));
    let others: Vec<_> = headers.iter().map(String::as_str).chain(["c/serve.h"]).collect();
    built(gcc, "-o", &format!("hostile/{name}.c"), &others)
}

/// A library that needs nothing, not even to be loaded.
pub(crate) fn library(path: &str) -> Result<PathBuf> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-shared", "-fPIC", "-nostdlib", "-O2", "-Wall", "-Wextra", NO_FRAME_POINTERS]);
    built(gcc, "-o", path, &[])
}

pub(crate) fn cpp(path: &str) -> Result<PathBuf> {
    let mut gpp = Command::new("g++");
    gpp.args(["-std=c++17", "-pthread", "-O2", "-Wall", "-Wextra", NO_FRAME_POINTERS]);
    built(gpp, "-o", path, &["c/serve.h"])
}

/// By the compiler of this test, which root's `PATH` need not know.
pub(crate) fn rust(path: &str) -> Result<PathBuf> {
    let mut rustc = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
    rustc.args(["--edition=2024", "-Copt-level=3", "-Ccodegen-units=1", "-Cforce-frame-pointers=no"]);
    built(rustc, "-o", path, &[])
}

/// The tests in a source file, as `cargo test` builds them.
pub(crate) fn rust_tests(path: &str) -> Result<PathBuf> {
    let mut rustc = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
    rustc.args(["--edition=2024", "--test", "--cap-lints=allow", "-Cdebuginfo=2"]);
    built(rustc, "-o", path, &[])
}

pub(crate) fn go(path: &str) -> Result<PathBuf> {
    let mut go = Command::new("go");
    go.arg("build").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOCACHE", directory("go-cache")?);
    built(go, "-o", path, &[])
}

/// The program that `compiler` makes of `path`; `others` are files that it reads besides.
fn built(mut compiler: Command, output: &str, path: &str, others: &[&str]) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    format!("{compiler:?}").hash(&mut hasher);
    for path in [path].iter().chain(others) {
        let source = source(path);
        fs::read(&source).with_context(|| format!("`{}`", source.display()))?.hash(&mut hasher);
    }
    let stem = Path::new(path).file_stem().context("a source without a name")?;
    let program = directory(&format!("{:016x}", hasher.finish()))?.join(stem);
    if program.exists() {
        return Ok(program);
    }
    let unfinished = program.with_extension(process::id().to_string());
    compiler.arg(output).arg(&unfinished).arg(source(path));
    let said =
        compiler.output().with_context(|| format!("{compiler:?}: `cargo xtask setup` installs what is missing"))?;
    ensure!(said.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&said.stderr));
    fs::rename(&unfinished, &program)?;
    Ok(program)
}

fn directory(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenarios").join(name);
    DirBuilder::new().recursive(true).mode(0o755).create(&path).with_context(|| format!("`{}`", path.display()))?;
    Ok(path)
}
