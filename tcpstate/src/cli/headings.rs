//! Headings of options in `--help`.

/// What narrows down which sockets are meant.
pub(super) const FILTERS: &str = "Filters";
/// What is a leak in a run.
pub(super) const LEAKS: &str = "Leaks";
/// What it may take, and how long.
pub(super) const LIMITS: &str = "Limits";
/// How it is written.
pub(super) const OUTPUT: &str = "Output";
/// What a report shows, and when.
pub(super) const REPORT: &str = "Report";
