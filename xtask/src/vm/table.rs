//! How a run of the tests went, as text.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{inapplicable, results::Verdict};

/// One kernel's results.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The kernel's name.
    pub(crate) name: &'static str,
    /// As `uname -r` says.
    pub(crate) release: String,
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// What went wrong with guests, beside tests that failed.
    pub(crate) troubles: Vec<String>,
    /// Seconds that its guests took.
    pub(crate) seconds: f64,
    /// Why tests failed, by name.
    pub(crate) failures: BTreeMap<String, String>,
    /// Why tests were tried once more, by name.
    pub(crate) again: BTreeMap<String, String>,
    /// Roles, each with the hook that is used for it.
    pub(crate) hooks: Vec<(String, String)>,
}

impl Column {
    pub(crate) fn is_good(&self) -> bool {
        self.troubles.is_empty() && self.verdicts.values().all(|verdict| verdict.is_good())
    }

    fn count(&self, wanted: impl Fn(Verdict) -> bool) -> usize {
        self.verdicts.values().filter(|verdict| wanted(**verdict)).count()
    }

    /// One line about it all.
    pub(crate) fn summary(&self) -> String {
        let mut line = format!(
            "{:7} {:28} {:3} of {} passed",
            if self.is_good() { "ok" } else { "FAILED" },
            format!("{} ({})", self.name, self.release),
            self.count(|verdict| matches!(verdict, Verdict::Passed | Verdict::PassedAgain)),
            self.verdicts.len()
        );
        let inapplicable = self.count(|verdict| verdict == Verdict::Inapplicable);
        if inapplicable > 0 {
            let _ = write!(line, ", {inapplicable} cannot");
        }
        let bad = self.count(|verdict| !verdict.is_good());
        if bad > 0 {
            let _ = write!(line, ", {bad} FAILED");
        }
        let _ = write!(line, ", in {:.0} s", self.seconds);
        for trouble in &self.troubles {
            let _ = write!(line, "\n        {trouble}");
        }
        line
    }
}

/// Every test on every kernel.
pub(crate) fn matrix(columns: &[Column]) -> String {
    rows(columns, |_| true)
}

/// What a user wants to see at the end: the tests that were not simply passed everywhere, why some cannot be, and the hooks.
pub(crate) fn digest(columns: &[Column]) -> String {
    let mut text = String::new();
    let failed = rows(columns, |verdicts| verdicts.iter().flatten().any(|verdict| *verdict != Verdict::Passed));
    if !failed.is_empty() {
        let _ = writeln!(text, "{failed}");
    }
    for column in columns {
        let failed = |(test, _): &(&String, &String)| column.verdicts.get(*test) == Some(&Verdict::Failed);
        for (test, why) in column.failures.iter().filter(failed) {
            let _ = writeln!(text, "{test} on {}: {}\n", column.name, why.trim());
        }
        let passed = |(test, _): &(&String, &String)| column.verdicts.get(*test) == Some(&Verdict::PassedAgain);
        for (test, why) in column.again.iter().filter(passed) {
            let _ = writeln!(text, "{test} on {}, the first time: {}\n", column.name, why.trim());
        }
    }
    for entry in inapplicable::INAPPLICABLE {
        let here = columns.iter().filter(|column| entry.kernels.contains(&column.name));
        let names: Vec<_> = here.map(|column| column.name).collect();
        if !names.is_empty() {
            let tests = entry.tests.join(", ");
            let _ = writeln!(text, "cannot pass on {}, because {}: {tests}", names.join(", "), entry.reason);
        }
    }
    let _ = write!(text, "{}", hooks(columns));
    text
}

/// Which hook each kernel uses for what, in the order in which `tcpstate probes` has the roles.
pub(crate) fn hooks(columns: &[Column]) -> String {
    let mut roles: Vec<&String> = Vec::new();
    for (role, _) in columns.iter().flat_map(|column| &column.hooks) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    let cells = roles.into_iter().map(|role| {
        let hooks = columns.iter().map(|column| {
            let hook = column.hooks.iter().find(|(other, _)| other == role);
            hook.map_or("-", |(_, hook)| hook.as_str())
        });
        std::iter::once(role.as_str()).chain(hooks).map(str::to_owned).collect()
    });
    grid("ROLE", columns, cells.collect())
}

fn rows(columns: &[Column], wanted: impl Fn(&[Option<Verdict>]) -> bool) -> String {
    let mut tests: Vec<&String> = columns.iter().flat_map(|column| column.verdicts.keys()).collect();
    tests.sort();
    tests.dedup();
    let rows = tests.into_iter().filter_map(|test| {
        let verdicts: Vec<_> = columns.iter().map(|column| column.verdicts.get(test).copied()).collect();
        wanted(&verdicts).then(|| {
            let words = verdicts.iter().map(|verdict| verdict.map_or("-", Verdict::word).to_owned());
            std::iter::once(test.clone()).chain(words).collect()
        })
    });
    grid("TEST", columns, rows.collect())
}

/// A table with a column for each kernel; nothing when it has no rows.
fn grid(title: &str, columns: &[Column], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let names = columns.iter().map(|column| column.name);
    let head: Vec<String> = std::iter::once(title).chain(names).map(str::to_owned).collect();
    let width = |index: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row: &Vec<String>| row.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in [&head].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Column, digest, matrix};
    use crate::vm::results::Verdict;

    fn column(name: &'static str, verdicts: &[(&str, Verdict)], accept: &str) -> Column {
        Column {
            name,
            release: format!("{name}.0"),
            verdicts: verdicts.iter().map(|(test, verdict)| ((*test).to_owned(), *verdict)).collect(),
            troubles: Vec::new(),
            seconds: 61.4,
            failures: BTreeMap::from([("b::c".to_owned(), "3 instead of 4\n".to_owned())]),
            again: BTreeMap::new(),
            hooks: vec![("accept".to_owned(), accept.to_owned())],
        }
    }

    #[test]
    fn the_digest_has_what_did_not_pass_and_the_hooks() {
        let columns = [
            // No test is inapplicable there.
            column("6.18", &[("a", Verdict::Passed), ("b::c", Verdict::Failed)], "fexit/inet_csk_accept"),
            column("7.2", &[("a", Verdict::Passed), ("b::c", Verdict::Passed)], "fexit/inet_csk_accept"),
        ];
        let expected = "\
TEST  6.18    7.2
b::c  FAILED  ok

b::c on 6.18: 3 instead of 4

ROLE    6.18                   7.2
accept  fexit/inet_csk_accept  fexit/inet_csk_accept
";
        assert_eq!(digest(&columns), expected);
        assert_eq!(matrix(&columns), "TEST  6.18    7.2\na     ok      ok\nb::c  FAILED  ok\n");
        assert!(!columns[0].is_good() && columns[1].is_good());
        assert_eq!(columns[0].summary(), "FAILED  6.18 (6.18.0)                  1 of 2 passed, 1 FAILED, in 61 s");
    }

    #[test]
    fn trouble_with_a_guest_is_no_success() {
        let mut column = column("6.1", &[("a", Verdict::Passed)], "kretprobe/inet_csk_accept");
        column.troubles.push("the kernel panicked: not syncing".to_owned());
        assert!(!column.is_good());
        assert!(column.summary().ends_with("in 61 s\n        the kernel panicked: not syncing"));
    }
}
