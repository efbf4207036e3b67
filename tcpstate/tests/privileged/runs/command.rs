//! A run, and what came of it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    scenarios::compile::{self, NO_FRAME_POINTERS},
    support::launch::Launch,
};

/// For anything that a command is expected to do, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// `tcpstate run` that has been started; killed when dropped.
pub(crate) struct Run {
    child: Child,
    directory: TempDir,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Null when none was written.
    pub(crate) report: Value,
    pub(crate) junit: String,
    /// How many files of reports there are, empty ones included.
    pub(crate) files: usize,
}

/// The program of many modes.
pub(crate) fn leaky() -> Result<PathBuf> {
    compile::c("run/leaky.c", &["-g", NO_FRAME_POINTERS])
}

impl Run {
    pub(crate) fn start(
        launch: &Launch,
        options: &[&str],
        command: &[impl AsRef<OsStr>],
        environment: &[(&str, &str)],
        input: &str,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        fs::write(at("input"), input)?;
        let mut run = launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
        run.arg("run").arg("--report").arg(at("report")).arg("--junit").arg(at("junit")).args(options);
        run.arg("--").args(command).envs(environment.iter().copied()).env_remove("NO_COLOR");
        run.stdin(File::open(at("input"))?).stdout(File::create(at("stdout"))?).stderr(File::create(at("stderr"))?);
        Ok(Self { child: run.spawn().context("tcpstate")?, directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn text(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.directory.path().join(name)).unwrap_or_default())
    }

    /// Waits until the command has said this.
    pub(crate) fn wait_for(&mut self, word: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.text("stdout")?.contains(word) {
            ensure!(Instant::now() < deadline, "`{word}` was not said; stderr: {}", self.text("stderr")?);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> Result<Ended> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("the run did not end in {PATIENCE:?}; stderr: {}", self.text("stderr")?);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let report = self.text("report")?;
        let report = if report.is_empty() { Value::Null } else { serde_json::from_str(&report)? };
        if !report.is_null() {
            let schema = serde_json::from_str(include_str!("../../../schema/run-v1.schema.json"))?;
            let validator = jsonschema::validator_for(&schema).context("the schema")?;
            if let Err(error) = validator.validate(&report) {
                bail!("{error} at {}: {report}", error.instance_path());
            }
        }
        Ok(Ended {
            code: status.code(),
            stdout: self.text("stdout")?,
            stderr: self.text("stderr")?,
            report,
            junit: self.text("junit")?,
            files: ["report", "junit"].iter().filter(|name| self.directory.path().join(name).exists()).count(),
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Of one that has ended already both say so, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end.
pub(crate) fn run(options: &[&str], command: &[impl AsRef<OsStr>]) -> Result<Ended> {
    Run::start(&Launch::default(), options, command, &[], "")?.end()
}

/// Runs the program of many modes.
pub(crate) fn run_leaky(options: &[&str], arguments: &[&str]) -> Result<Ended> {
    let program = leaky()?;
    let command: Vec<_> = [program.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new)).collect();
    run(options, &command)
}

impl Ended {
    /// Fails unless so many sockets leaked, and the exit code is this.
    pub(crate) fn check(&self, code: i32, leaked: u64) -> Result<()> {
        ensure!(self.code == Some(code), "exit code {:?} instead of {code}: {}", self.code, self.stderr);
        ensure!(
            self.report["leaked"] == leaked,
            "{} leaked instead of {leaked}: {}",
            self.report["leaked"],
            self.stderr
        );
        ensure!(self.report["exit_code"] == code, "{} in the report", self.report["exit_code"]);
        ensure!(self.report["complete"] == true, "incomplete: {}", self.stderr);
        let failures = self.junit.contains("<failure");
        ensure!(failures == (leaked > 0), "{leaked} leaked, but JUnit says {}", self.junit);
        Ok(())
    }

    /// Fails unless every group of leaks has this value there.
    pub(crate) fn check_all(&self, pointer: &str, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        let leaks = self.report["leaks"].as_array().context("no leaks")?;
        ensure!(!leaks.is_empty(), "no group: {}", self.report);
        for leak in leaks {
            ensure!(leak.pointer(pointer) == Some(&value), "`{pointer}` is not {value}: {leak}");
        }
        Ok(())
    }

    /// Fails unless a function of this name is on the stack at this place of the first group.
    pub(crate) fn check_stack(&self, pointer: &str, function: &str) -> Result<()> {
        let stack = self.report["leaks"][0].pointer(pointer).context("no stack")?;
        let frames = stack["frames"].as_array().context("no frames")?;
        let named = |frame: &Value| frame["function"].as_str().is_some_and(|name| name.contains(function));
        ensure!(frames.iter().any(named), "no `{function}`: {stack}");
        Ok(())
    }
}
