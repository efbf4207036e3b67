//! The tests that need root, as a guest runs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use super::{image::Base, results};
use crate::{build, cargo, process};

/// A test that is not for all kernels is for one of them in every few turns: guests take as long as all the rest.
const EVERY: usize = 2;

/// A test binary and all tests in it.
#[derive(Clone, Debug)]
struct Runner {
    path: PathBuf,
    known: Vec<String>,
}

/// The test binaries, the same as on the machine itself, and which of their tests were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    runners: Vec<Runner>,
    /// Those whose names contain one of these.
    filters: Vec<String>,
    /// Half of the others run, each on one kernel, this being the number of the turn. Otherwise no other one runs, unless there are no filters:
    /// then all run on each.
    turn: Option<usize>,
}

/// One of several kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nth {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl Suite {
    /// Builds them and the programs that they run, and asks for the tests whose names contain one of `filters`; with `turn`,
    /// for half of the others as well, each on one kernel.
    ///
    /// # Errors
    ///
    /// A build failed, or a filter fits no test.
    pub(crate) fn build(filters: &[String], turn: Option<usize>) -> anyhow::Result<Self> {
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
            runners.push(Runner { path, known });
        }
        let suite = Self { runners, filters: filters.to_vec(), turn };
        let known = suite.known();
        let is_called = |name: &&String| known.iter().any(|test| test.contains(*name));
        let unknown: Vec<_> = filters.iter().filter(|filter| !is_called(filter)).cloned().collect();
        ensure!(unknown.is_empty(), "no test is called {}", unknown.join(" or "));
        Ok(suite)
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
        for directory in ["tests", "schema", "stacks/tests"] {
            base.add(&package().join(directory))?;
        }
        base.add(&build::tests_directory()?)?;
        Ok(())
    }

    /// The names of the tests for a kernel.
    pub(crate) fn tests(&self, kernel: Nth) -> Vec<String> {
        let known = self.known();
        let tests = known.into_iter().enumerate().filter(|(number, test)| self.is_for(kernel, *number, test));
        tests.map(|(_, test)| test).collect()
    }

    /// Whether the test of this number is for a kernel.
    fn is_for(&self, kernel: Nth, number: usize, test: &str) -> bool {
        let dealt = || match self.turn {
            Some(turn) => number % EVERY == turn % EVERY && (number / EVERY + turn / EVERY) % kernel.of == kernel.index,
            None => self.filters.is_empty(),
        };
        self.filters.iter().any(|filter| test.contains(filter)) || dealt()
    }

    /// The names of all tests.
    pub(crate) fn known(&self) -> Vec<String> {
        self.runners.iter().flat_map(|runner| runner.known.clone()).collect()
    }

    /// What the shell of a guest does to run the tests for `kernel`, part `part` of `parts`, and to tell about hooks in the first one.
    pub(crate) fn command(&self, kernel: Nth, part: usize, parts: usize) -> String {
        let tests = self.tests(kernel);
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
            let tests = runner.known.iter().filter(|test| tests.contains(test));
            let mine: Vec<_> = tests.skip(part).step_by(parts).collect();
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

#[cfg(test)]
mod tests {
    use super::{EVERY, Nth, Runner, Suite};

    fn suite(filters: &[&str], turn: Option<usize>) -> Suite {
        let runner = |known: &[&str]| Runner {
            path: "tests".into(),
            known: known.iter().map(|&test| test.to_owned()).collect(),
        };
        let runners = vec![runner(&["a", "b", "c", "d"]), runner(&["e", "f"])];
        Suite { runners, filters: filters.iter().map(|&filter| filter.to_owned()).collect(), turn }
    }

    fn tests(suite: &Suite, index: usize) -> String {
        suite.tests(Nth { index, of: 3 }).concat()
    }

    #[test]
    fn without_filters_every_test_is_for_every_kernel() {
        assert_eq!(tests(&suite(&[], None), 2), "abcdef");
        assert_eq!(tests(&suite(&["b", "e"], None), 2), "be");
    }

    #[test]
    fn what_no_filter_asks_for_is_dealt() {
        let dealt = |turn| [0, 1, 2].map(|kernel| tests(&suite(&["b"], Some(turn)), kernel));
        assert_eq!(dealt(0), ["ab", "bc", "be"]);
        assert_eq!(dealt(1), ["b", "bd", "bf"]);
        assert_eq!(dealt(2), ["be", "ab", "bc"]);
        assert_eq!([0, 1, 2].map(|kernel| tests(&suite(&[], Some(1)), kernel)), ["b", "d", "f"]);
    }

    #[test]
    fn in_turn_every_test_meets_every_kernel_once() {
        for kernel in 0..3 {
            let met: String = (0..3 * EVERY).map(|turn| tests(&suite(&[], Some(turn)), kernel)).collect();
            let mut met: Vec<_> = met.chars().collect();
            met.sort_unstable();
            assert_eq!(met, ['a', 'b', 'c', 'd', 'e', 'f']);
        }
    }

    #[test]
    fn a_guest_leaves_out_what_is_for_others() {
        let command = suite(&["b"], Some(0)).command(Nth { index: 0, of: 3 }, 0, 1);
        assert!(command.contains("--exact --skip c --skip d || code=$?"), "{command}");
        assert!(!command.contains("--skip e"), "nothing of the second runner is for it: {command}");
    }
}
