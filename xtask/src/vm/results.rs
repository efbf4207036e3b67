//! What the tests of a guest said, line by line, and what that means.

use std::collections::BTreeMap;

use super::{inapplicable, qemu::End};

/// How a test went in one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Passed,
    /// When it was tried once more.
    PassedAgain,
    /// It cannot pass on this kernel, and did not: [`inapplicable`] says why.
    Inapplicable,
    Failed,
    /// [`inapplicable`] says that it cannot pass on this kernel, and it did.
    Unexpected,
    /// The guest ended before it said anything about it.
    Missing,
}

impl Verdict {
    /// In a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::PassedAgain => "ok again",
            Self::Inapplicable => "n/a",
            Self::Failed => "FAILED",
            Self::Unexpected => "PASSED",
            Self::Missing => "NOT RUN",
        }
    }

    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::PassedAgain | Self::Inapplicable)
    }
}

/// Lines of test runners, as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Whether a test passed.
    passed: BTreeMap<String, bool>,
    /// What `tcpstate` says about the hooks of this kernel, in JSON.
    pub(crate) hooks: Option<String>,
    /// Why tests failed, as their runner says at its end.
    pub(crate) failures: BTreeMap<String, String>,
    /// Why tests were tried once more, as they say.
    pub(crate) again: BTreeMap<String, String>,
    /// The one of them that is being told of.
    told: Option<String>,
    /// The test that runs: what it or its programs say comes between its name and how it went.
    begun: Option<String>,
}

/// Most bytes that are shown of why a test failed: a report in JSON may have many.
const MOST_WHY: usize = 1000;

/// What a test says that is tried once more, before it says why.
const AGAIN: &str = "tried again: ";

/// Before what `tcpstate` says about the hooks.
pub(crate) const HOOKS: &str = "hooks of this kernel: ";

impl Said {
    pub(crate) fn take(&mut self, line: &str) {
        if let Some(hooks) = line.strip_prefix(HOOKS) {
            self.hooks = Some(hooks.to_owned());
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let name = name.trim_end().to_owned();
            match passed(outcome) {
                Some(passed) => drop(self.passed.insert(name, passed)),
                None => {
                    self.tried_again(&name, outcome);
                    self.begun = Some(name);
                }
            }
        } else if let Some(passed) = passed(line)
            && let Some(name) = self.begun.take()
        {
            self.passed.insert(name, passed);
        } else if line.starts_with(AGAIN)
            && let Some(name) = self.begun.clone()
        {
            self.tried_again(&name, line);
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            self.told = Some(name.to_owned());
        } else if line == "failures:" {
            self.told = None;
        } else if let Some(name) = &self.told {
            let why = self.failures.entry(name.clone()).or_default();
            let room = MOST_WHY.saturating_sub(why.len());
            why.extend(line.chars().chain(['\n']).take(room));
        }
    }

    fn tried_again(&mut self, name: &str, line: &str) {
        if let Some(why) = line.strip_prefix(AGAIN) {
            let why: String = why.chars().take(MOST_WHY).collect();
            self.again.insert(name.to_owned(), why);
        }
    }

    /// Adds what another guest with the same kernel said.
    pub(crate) fn merge(&mut self, other: Self) {
        self.passed.extend(other.passed);
        self.failures.extend(other.failures);
        self.again.extend(other.again);
        self.hooks = self.hooks.take().or(other.hooks);
    }

    pub(crate) fn count(&self) -> usize {
        self.passed.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.passed.values().filter(|passed| !**passed).count()
    }

    /// How each of `tests` went on `kernel`.
    pub(crate) fn verdicts<'a>(&self, kernel: &str, tests: &'a [String]) -> BTreeMap<&'a str, Verdict> {
        let verdict = |test: &str| match (self.passed.get(test), inapplicable::reason(kernel, test).is_some()) {
            (None, _) => Verdict::Missing,
            (Some(true), false) if self.again.contains_key(test) => Verdict::PassedAgain,
            (Some(true), false) => Verdict::Passed,
            (Some(true), true) => Verdict::Unexpected,
            (Some(false), false) => Verdict::Failed,
            (Some(false), true) => Verdict::Inapplicable,
        };
        tests.iter().map(|test| (test.as_str(), verdict(test))).collect()
    }
}

/// Whether a guest that ended like this has said all it had to say: test runners exit with 101 when a test has failed.
pub(crate) fn is_regular(end: &End) -> bool {
    matches!(end, End::Exit(0 | 101))
}

/// How a test went, as its runner says.
fn passed(outcome: &str) -> Option<bool> {
    match outcome.trim() {
        "ok" => Some(true),
        "FAILED" => Some(false),
        _ => None,
    }
}

/// The tests in what a runner lists.
pub(crate) fn listed(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{Said, Verdict, listed};

    fn said(lines: &[&str]) -> Said {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.take(line));
        said
    }

    #[test]
    fn a_test_without_a_line_has_not_run() {
        let tests = ["a::b", "a::c", "d"].map(str::to_owned);
        let said = said(&["running 3 tests", "test a::b  ... ok", "test a::c  ... FAILED", "test d ... "]);
        let verdicts = said.verdicts("6.1", &tests);
        assert_eq!(verdicts["a::b"], Verdict::Passed);
        assert_eq!(verdicts["a::c"], Verdict::Failed);
        assert_eq!(verdicts["d"], Verdict::Missing);
        assert_eq!((said.count(), said.failed()), (2, 1));
    }

    #[test]
    fn what_a_test_says_does_not_hide_how_it_went() {
        let tests = ["a::b", "c", "d"].map(str::to_owned);
        let said = said(&[
            "test a::b     ... accept: Too many open files",
            "leaks: 31372 KiB",
            "ok",
            "ok",
            "test c        ... tried again: events were lost",
            "FAILED",
            "test d        ... tried again: too late",
            "ok",
        ]);
        let verdicts = said.verdicts("6.1", &tests);
        let expected = [Verdict::Passed, Verdict::Failed, Verdict::PassedAgain];
        assert_eq!(expected, ["a::b", "c", "d"].map(|test| verdicts[test]));
        assert_eq!(said.again["d"], "too late");
    }

    #[test]
    fn keeps_why_tests_failed() {
        let lines = [
            "failures:",
            "",
            "---- a::c ----",
            "3 instead of 4",
            "",
            "failures:",
            "    a::c",
            "",
            "test result: FAILED.",
        ];
        let said = said(&lines);
        assert_eq!(said.failures.len(), 1);
        assert_eq!(said.failures["a::c"].trim(), "3 instead of 4");
    }

    #[test]
    fn keeps_what_is_said_about_hooks() {
        assert_eq!(said(&["hooks of this kernel: {\"a\":1}"]).hooks.as_deref(), Some("{\"a\":1}"));
    }

    #[test]
    fn reads_a_list_of_tests() {
        assert_eq!(listed("a::b: test\nc: test\n\n2 tests, 0 benchmarks\nd: bench\n"), ["a::b", "c"]);
    }
}
