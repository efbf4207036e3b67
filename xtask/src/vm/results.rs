//! What the tests of a guest said, line by line, and what that means.

use std::collections::BTreeMap;

use super::{inapplicable, qemu::End};

/// How a test went in one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Passed,
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
            Self::Inapplicable => "n/a",
            Self::Failed => "FAILED",
            Self::Unexpected => "PASSED",
            Self::Missing => "NOT RUN",
        }
    }

    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Inapplicable)
    }
}

/// Lines of test runners, as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Whether a test passed.
    passed: BTreeMap<String, bool>,
    /// What `tcpstate` says about the hooks of this kernel, in JSON.
    pub(crate) hooks: Option<String>,
}

/// Before what `tcpstate` says about the hooks.
pub(crate) const HOOKS: &str = "hooks of this kernel: ";

impl Said {
    pub(crate) fn take(&mut self, line: &str) {
        if let Some(hooks) = line.strip_prefix(HOOKS) {
            self.hooks = Some(hooks.to_owned());
        } else if let Some((name, passed)) = parse(line) {
            self.passed.insert(name.to_owned(), passed);
        }
    }

    /// Adds what another guest with the same kernel said.
    pub(crate) fn merge(&mut self, other: Self) {
        self.passed.extend(other.passed);
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

/// `test NAME … ok` or `FAILED`, with spaces between as the runner likes.
fn parse(line: &str) -> Option<(&str, bool)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match outcome.trim() {
        "ok" => Some((name.trim(), true)),
        "FAILED" => Some((name.trim(), false)),
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
    fn keeps_what_is_said_about_hooks() {
        assert_eq!(said(&["hooks of this kernel: {\"a\":1}"]).hooks.as_deref(), Some("{\"a\":1}"));
    }

    #[test]
    fn reads_a_list_of_tests() {
        assert_eq!(listed("a::b: test\nc: test\n\n2 tests, 0 benchmarks\nd: bench\n"), ["a::b", "c"]);
    }
}
