//! The summary on standard error.

use tcpstate::report::{Summary, summary_text::write_summary};
use tcpstate_core::model::{Totals, Unseen};

use crate::{golden::assert_golden, sample};

fn render(summary: &Summary) -> String {
    let mut out = Vec::new();
    write_summary(&mut out, summary).expect("a Vec takes it");
    String::from_utf8(out).expect("text is UTF-8")
}

#[test]
fn golden_of_a_complete_trace() {
    let totals = Totals { transitions: 10, seen: 10, filtered: 1_234_567, ..Totals::default() };
    assert_golden("summary.txt", &render(&sample::summary(totals)));
}

#[test]
fn golden_of_a_trace_with_losses() {
    let totals = Totals { transitions: 13, seen: 10, lost: 3, filtered: 5, map_full: 1, unknown_state: 1 };
    let unseen = Unseen { transitions: 122, sockets: 61 };
    assert_golden("summary-incomplete.txt", &render(&Summary { unseen, ..sample::summary(totals) }));
}

#[test]
fn a_trace_of_nothing_has_no_table() {
    let summary = Summary { dwell: Vec::new(), ..sample::summary(Totals::default()) };
    assert_eq!(render(&summary), "0 transitions seen, 0 lost, 0 filtered out, in 12.3 s\n");
}
