//! The engine under `leaks`, `run` and `record`: a tracer in leak mode, and what it has told so far.
//!
//! [`start()`] attaches; [`Hunt::fetch()`] takes what waits; [`Hunt::reconcile()`] repairs with a snapshot what lost events left wrong;
//! [`Hunt::survey()`] says how things stand, with names. A command adds its loop, its settings and its renderer.

mod engine;
mod naming;
mod reconcile;
mod sleepers;
mod stacks;
mod start;
mod survey;

pub(crate) use self::{
    engine::{BATCH, Hunt, TICK},
    start::start,
    survey::{Fetch, Surveyed},
};
