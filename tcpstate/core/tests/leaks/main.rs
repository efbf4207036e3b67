//! The aggregator of leaks, fed with events and snapshots that each test makes up.

mod figures;
mod scene;
mod survey;
mod verdicts;
