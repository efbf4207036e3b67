//! One module for each verb: what only that verb does.

pub mod doctor;
pub mod leaks;
pub mod probes;
pub mod record;
mod render;
pub mod report;
pub mod run;
pub mod shell;
pub mod states;
pub mod trace;
