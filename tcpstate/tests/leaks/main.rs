//! Leak hunting without a kernel: events and snapshots in, verdicts and reports out.

mod figures;
mod golden;
mod properties;
mod run;
mod scene;
mod stacks;
mod verdicts;
