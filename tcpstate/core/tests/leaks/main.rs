//! The aggregator of leaks, fed with events and snapshots that each test makes up.

mod bounds;
mod figures;
mod pools;
mod scene;
mod survey;
mod verdicts;
