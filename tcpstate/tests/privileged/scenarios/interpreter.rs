//! Programs of languages that are not compiled beforehand.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result};

use super::{
    compile,
    program::{Program, installed},
};

pub(crate) struct Interpreter {
    path: PathBuf,
    flags: &'static [&'static str],
    /// Whether it tells which of its functions is where, given the flags.
    pub(crate) writes_perf_map: bool,
    /// Whether its functions have names: by that, or since it is known where it keeps its frames.
    pub(crate) names_functions: bool,
}

impl Interpreter {
    /// A Python that has `requests`: the distribution's own first, because its package is there.
    pub(crate) fn python() -> Result<Self> {
        static USABLE: OnceLock<Option<(bool, PathBuf)>> = OnceLock::new();
        let usable = USABLE.get_or_init(usable_python).clone();
        let (writes_perf_map, path) =
            usable.context("no `python3` has the module `requests`: run `cargo xtask setup`")?;
        Ok(Self {
            path,
            flags: if writes_perf_map { &["-X", "perf"] } else { &[] },
            writes_perf_map,
            names_functions: true,
        })
    }

    pub(crate) fn node() -> Result<Self> {
        // Without the last two it leaves a log in the working directory.
        let flags = &[
            "--perf-basic-prof",
            "--interpreted-frames-native-stack",
            "--no-logfile-per-isolate",
            "--logfile=/dev/null",
        ];
        Ok(Self { path: installed("node")?, flags, writes_perf_map: true, names_functions: true })
    }

    /// Starts a script.
    pub(crate) fn start(&self, script: &str, arguments: &[&str]) -> Result<Program> {
        let script = compile::source(script).display().to_string();
        Program::start(&self.path, &[self.flags, &[script.as_str()], arguments].concat())
    }
}

/// The first, and whether it writes perf maps.
fn usable_python() -> Option<(bool, PathBuf)> {
    let candidates = [Some(PathBuf::from("/usr/bin/python3")), installed("python3").ok()];
    candidates.into_iter().flatten().find_map(|path| Some((can_write_perf_map(&path)?, path)))
}

/// A Python since 3.12 can; `None` for one without `requests`.
fn can_write_perf_map(python: &Path) -> Option<bool> {
    let question = "import requests, sys; print(hasattr(sys, 'activate_stack_trampoline'))";
    let output = Command::new(python).args(["-c", question]).output().ok()?;
    output.status.success().then(|| output.stdout.starts_with(b"True"))
}
