//! What is shown, and one renderer for each format.
//!
//! Renderers write to any [`std::io::Write`] and hand its errors to the caller, so that a closed pipe ends the program
//! quietly. They read no clock.

pub mod clock;
mod columns;
mod doctor;
pub mod doctor_json;
pub mod doctor_text;
mod errno;
pub mod escape;
pub mod evidence;
pub mod folded;
mod json;
pub mod leaks;
pub mod leaks_json;
pub mod leaks_text;
mod page;
pub mod probes_json;
pub mod probes_text;
pub mod run;
pub mod run_json;
pub mod run_junit;
pub mod run_text;
pub mod span;
pub mod states_json;
pub mod states_text;
mod style;
pub mod summary_text;
pub mod svg;
pub mod trace_json;
pub mod trace_text;
mod words;

use std::time::Duration;

use tcpstate_core::{
    aggregate::dwell::DwellRow,
    model::{Totals, Unseen},
};

/// What a trace amounts to, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// From the start of the trace to its end.
    pub elapsed: Duration,
    /// What was counted.
    pub totals: Totals,
    /// What the kernel ran no program for.
    pub unseen: Unseen,
    /// Time spent in each state.
    pub dwell: Vec<DwellRow>,
    /// Stays without an end that are in no row.
    pub open_not_kept: u64,
}
