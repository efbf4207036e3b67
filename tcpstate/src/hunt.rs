//! The engine under `leaks`, `run` and `record`: a tracer in leak mode, and what it has told so far.
//!
//! [`attach()`] attaches, [`Attached::begin()`](start::Attached::begin) gives up what that took; [`Hunt::fetch()`] takes what waits; [`Hunt::reconcile()`] repairs with a snapshot what lost events left wrong;
//! [`Hunt::survey()`] says how things stand, with names. A command adds its loop, its settings and its renderer.

mod activity;
mod engine;
mod reconcile;
mod sleepers;
mod stacks;
mod start;
mod survey;
mod undecided;

pub(crate) use self::{
    engine::{BATCH, Hunt, TICK, push},
    start::attach,
    survey::{Fetch, Surveyed},
};
