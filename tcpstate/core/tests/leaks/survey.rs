//! What tests ask of a survey.

use tcpstate_core::aggregate::{
    leaks::{Group, Survey},
    verdict::Verdict,
};

/// The only group of leaks.
pub(crate) fn only(survey: &Survey) -> &Group {
    match survey.groups.as_slice() {
        [group] => group,
        groups => panic!("one group expected: {groups:#?}"),
    }
}

/// Verdicts and numbers of all groups, half-closes in use included.
pub(crate) fn verdicts(survey: &Survey) -> Vec<(Verdict, u64)> {
    survey.groups.iter().chain(&survey.sending).map(|group| (group.verdict, group.sockets)).collect()
}
