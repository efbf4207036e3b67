//! `tcpstate leaks -o svg`: a flamegraph.

use std::io;

use inferno::flamegraph::{self, Options};

use super::{
    folded::{self, Weight},
    leaks::LeakReport,
    words::Count,
};

/// Writes a flamegraph of the stacks that opened the leaked sockets.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl io::Write, report: &LeakReport, weight: Weight) -> io::Result<()> {
    let mut options = Options::default();
    options.title = format!("Sockets left in CLOSE_WAIT, by {}", weight.unit());
    options.subtitle = subtitle(report);
    options.count_name = weight.unit().to_owned();
    // The same function has the same colour in every picture.
    options.hash = true;
    let mut lines = folded::lines(report, weight);
    if lines.is_empty() {
        // The crate takes a picture of nothing for an error.
        lines.push("no leaks 1".to_owned());
    }
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), out).map_err(io::Error::other)
}

/// What is missing from the picture.
fn subtitle(report: &LeakReport) -> Option<String> {
    let lost = report.losses.events;
    (lost > 0).then(|| format!("incomplete: {} lost", Count(lost, "event")))
}
