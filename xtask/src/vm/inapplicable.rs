//! Tests that cannot pass on a kernel, each with the reason. They are run all the same: one that passes is an error here.

/// Tests that cannot pass on some kernels.
#[derive(Debug)]
pub(crate) struct Inapplicable {
    /// Names of kernels.
    pub(crate) kernels: &'static [&'static str],
    /// Their names; before a `*`, the beginning of the names of several.
    pub(crate) tests: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// All there are.
pub(crate) const INAPPLICABLE: &[Inapplicable] = &[
    Inapplicable {
        kernels: &["5.10"],
        tests: &["mptcp::*", "states::mptcp_as_in_ss"],
        reason: "Debian builds 5.10 without CONFIG_MPTCP",
    },
    Inapplicable {
        kernels: &["5.10"],
        tests: &["hunts::rings::multishot"],
        reason: "a request of io_uring accepts one connection there",
    },
    Inapplicable {
        kernels: &["5.10", "6.1", "6.1-rt", "6.12", "6.12-integrity", "6.12-confidentiality"],
        tests: &["hunts::rings::without_descriptors"],
        reason: "io_uring does not say there which sockets are among its files",
    },
    Inapplicable {
        kernels: &["6.12-confidentiality"],
        tests: &[
            "docs::commands::ci",
            "runs::leaks::allowed",
            "runs::leaks::closed_late",
            "runs::leaks::ghosts",
            "runs::suites::node",
            "runs::suites::perl",
            "runs::suites::pytest",
            "hunts::callers::*",
            "hunts::changes::never_accepted_then_accepted",
            "hunts::crowded::stacks_do_not_end",
            "hunts::executed::another_program",
            "hunts::flame::weights_of_a_leak",
            "hunts::late::*",
            "hunts::rings::multishot",
            "hunts::rings::waiting",
            "holders::by_name",
            "holders::of_the_opener",
            "holders::told_of_the_end",
            "hunts::text::in_a_pipe",
            "scenarios::leaks::kernel_stacks::send_block",
        ],
        reason: "they are about stacks of calls, which are not to be had there",
    },
    Inapplicable {
        kernels: &["6.12-confidentiality"],
        tests: &[
            "runs::passing::input_and_output",
            "hunts::errors::hostile_names",
            "hunts::errors::process_exits",
            "hunts::errors::reader_goes_away",
            "hunts::errors::reader_is_gone_before_the_start",
            "hunts::options::duration",
            "hunts::options::once_*",
            "hunts::text::on_a_*",
        ],
        reason: "they want nothing said on standard error, and it says there that there are no stacks",
    },
];

/// Why `test` cannot pass on `kernel`.
pub(crate) fn reason(kernel: &str, test: &str) -> Option<&'static str> {
    let entry = INAPPLICABLE.iter().find(|entry| entry.kernels.contains(&kernel) && entry.covers(test))?;
    Some(entry.reason)
}

impl Inapplicable {
    pub(crate) fn covers(&self, test: &str) -> bool {
        self.tests.iter().any(|name| is_meant(name, test))
    }
}

fn is_meant(name: &str, test: &str) -> bool {
    name.strip_suffix('*').map_or(name == test, |beginning| test.starts_with(beginning))
}

/// The names that mean none of `tests`.
pub(crate) fn stale(tests: &[String]) -> Vec<&'static str> {
    let names = INAPPLICABLE.iter().flat_map(|entry| entry.tests).copied();
    names.filter(|name| !tests.iter().any(|test| is_meant(name, test))).collect()
}

#[cfg(test)]
mod tests {
    use super::{INAPPLICABLE, Inapplicable};
    use crate::vm::kernels::KERNELS;

    #[test]
    fn an_entry_covers_tests_and_all_that_begin_alike() {
        let entry = Inapplicable { kernels: &[], tests: &["mptcp::*", "states::both"], reason: "" };
        assert!(entry.covers("mptcp::both"));
        assert!(!entry.covers("mptc"));
        assert!(entry.covers("states::both"));
        assert!(!entry.covers("states::both_sides"));
    }

    #[test]
    fn entries_are_of_kernels_that_exist_and_have_a_reason() {
        for entry in INAPPLICABLE {
            assert!(!entry.kernels.is_empty() && !entry.reason.is_empty(), "{entry:?}");
            assert!(entry.kernels.iter().all(|name| KERNELS.iter().any(|kernel| kernel.name == *name)), "{entry:?}");
        }
    }
}
