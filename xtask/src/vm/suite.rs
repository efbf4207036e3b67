//! The tests that need root, as a guest runs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use super::{image::Base, results};
use crate::{build, cargo, process};

/// A test binary and the tests in it that were asked for.
#[derive(Clone, Debug)]
struct Runner {
    path: PathBuf,
    tests: Vec<String>,
    /// All it has.
    known: Vec<String>,
}

/// The test binaries, the same as on the machine itself.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    runners: Vec<Runner>,
}

impl Suite {
    /// Builds them and the programs that they run, and asks for the tests whose names contain one of `filters`.
    ///
    /// # Errors
    ///
    /// A build failed, or a filter fits no test.
    pub(crate) fn build(filters: &[String]) -> anyhow::Result<Self> {
        let mut runners = Vec::new();
        for (name, path) in build::privileged_tests()? {
            // Both do nothing else than building programs that their tests run.
            let programs = if name == "privileged" { "programs" } else { "programs_are_compiled" };
            let mut command = Command::new(&path);
            command.arg(programs).current_dir(package()).stdout(Stdio::null());
            process::step(&format!("build what the tests of `{name}` run"), command, None)?;
            let list = Command::new(&path).arg("--list").current_dir(package()).output();
            let list = list.with_context(|| format!("failed to run `{}`", path.display()))?;
            ensure!(list.status.success(), "`{} --list` failed: {}", path.display(), list.status);
            let known = results::listed(&String::from_utf8(list.stdout)?);
            let wanted = |test: &&String| filters.is_empty() || filters.iter().any(|filter| test.contains(filter));
            runners.push(Runner { tests: known.iter().filter(wanted).cloned().collect(), path, known });
        }
        let is_called =
            |name: &&String| runners.iter().flat_map(|runner| &runner.tests).any(|test| test.contains(*name));
        let unknown: Vec<_> = filters.iter().filter(|filter| !is_called(filter)).cloned().collect();
        ensure!(unknown.is_empty(), "no test is called {}", unknown.join(" or "));
        Ok(Self { runners })
    }

    /// Puts into guests what the tests need.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn install(&self, base: &mut Base) -> anyhow::Result<()> {
        for runner in &self.runners {
            base.add(&runner.path)?;
        }
        base.add(&build::tested_program()?)?;
        for directory in ["tests", "schema"] {
            base.add(&package().join(directory))?;
        }
        base.add(&build::tests_directory()?)?;
        Ok(())
    }

    /// The names of all tests asked for.
    pub(crate) fn tests(&self) -> Vec<String> {
        self.runners.iter().flat_map(|runner| runner.tests.clone()).collect()
    }

    /// The names of all tests.
    pub(crate) fn known(&self) -> Vec<String> {
        self.runners.iter().flat_map(|runner| runner.known.clone()).collect()
    }

    /// What the shell of a guest does to run the tests of part `part` of `parts`, and to tell about hooks in the first one.
    pub(crate) fn command(&self, part: usize, parts: usize) -> String {
        let mut lines = vec![
            format!("cd {}", package().display()),
            "code=0".to_owned(),
            // Debian's tools want it where they look for namespaces.
            "mkdir -p /run/netns".to_owned(),
        ];
        if part == 0 {
            lines.push(format!("echo \"{}$(tcpstate probes --output json | tr -d '\\n')\"", results::HOOKS));
        }
        for runner in &self.runners {
            let mine: Vec<_> = runner.tests.iter().skip(part).step_by(parts).collect();
            if mine.is_empty() {
                continue;
            }
            // Runners take one filter, but leave out as many as one likes.
            let skipped: Vec<_> = runner.known.iter().filter(|test| !mine.contains(test)).cloned().collect();
            let skips: String = skipped.iter().map(|test| format!(" --skip {test}")).collect();
            lines.push(format!("{} --test-threads=1 --color=never --exact{skips} || code=$?", runner.path.display()));
        }
        lines.push("exit $code".to_owned());
        lines.join("\n")
    }
}

/// Where cargo runs the tests.
fn package() -> PathBuf {
    Path::new(cargo::workspace()).join("tcpstate")
}
