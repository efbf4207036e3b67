//! Tests that cannot pass on a kernel, each with the reason. They are run all the same: one that passes is an error here.

/// A test that cannot pass on some kernels.
#[derive(Debug)]
pub(crate) struct Inapplicable {
    /// Names of kernels.
    pub(crate) kernels: &'static [&'static str],
    /// Its name, or the beginning of the names of several up to a `*`.
    pub(crate) test: &'static str,
    pub(crate) reason: &'static str,
}

/// All there are.
pub(crate) const INAPPLICABLE: &[Inapplicable] = &[
    Inapplicable { kernels: &["5.10"], test: "mptcp::*", reason: "Debian builds 5.10 without CONFIG_MPTCP" },
    Inapplicable {
        kernels: &["5.10"],
        test: "states::mptcp_as_in_ss",
        reason: "Debian builds 5.10 without CONFIG_MPTCP",
    },
];

/// Why `test` cannot pass on `kernel`.
pub(crate) fn reason(kernel: &str, test: &str) -> Option<&'static str> {
    let entry = INAPPLICABLE.iter().find(|entry| entry.kernels.contains(&kernel) && entry.covers(test))?;
    Some(entry.reason)
}

impl Inapplicable {
    pub(crate) fn covers(&self, test: &str) -> bool {
        self.test.strip_suffix('*').map_or(self.test == test, |beginning| test.starts_with(beginning))
    }
}

/// The entries that no test of `tests` is covered by.
pub(crate) fn stale(tests: &[String]) -> Vec<&'static str> {
    let stale = INAPPLICABLE.iter().filter(|entry| !tests.iter().any(|test| entry.covers(test)));
    stale.map(|entry| entry.test).collect()
}

#[cfg(test)]
mod tests {
    use super::{INAPPLICABLE, Inapplicable};
    use crate::vm::kernels::KERNELS;

    #[test]
    fn an_entry_covers_a_test_or_all_that_begin_alike() {
        let entry = |test| Inapplicable { kernels: &[], test, reason: "" };
        assert!(entry("mptcp::*").covers("mptcp::both"));
        assert!(!entry("mptcp::*").covers("mptc"));
        assert!(entry("mptcp::both").covers("mptcp::both"));
        assert!(!entry("mptcp::both").covers("mptcp::both_sides"));
    }

    #[test]
    fn entries_are_of_kernels_that_exist_and_have_a_reason() {
        for entry in INAPPLICABLE {
            assert!(!entry.kernels.is_empty() && !entry.reason.is_empty(), "{entry:?}");
            assert!(entry.kernels.iter().all(|name| KERNELS.iter().any(|kernel| kernel.name == *name)), "{entry:?}");
        }
    }
}
