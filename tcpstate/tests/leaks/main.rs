//! Reports of leaks without a kernel: events and snapshots in, every format out.

mod golden;
mod properties;
mod run;
#[path = "../../core/tests/leaks/scene.rs"]
mod scene;
mod stacks;
