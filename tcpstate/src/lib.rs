//! User space of tcpstate.
//!
//! A transition goes one way: [`kernel`] (ring buffer) → [`decode`] → [`model`] → [`aggregate`] → [`report`], driven by a
//! command such as [`trace`] or [`leaks`]. Only `kernel` knows aya; `aggregate` and `report` do no I/O of their own and take time as an
//! argument.

pub mod aggregate;
pub mod cli;
pub mod decode;
pub mod doctor;
pub mod kernel;
pub mod leaks;
mod memory;
pub mod model;
pub mod preflight;
pub mod probes;
pub mod process;
pub mod record;
pub mod recording;
pub mod replay;
pub mod report;
pub mod run;
mod session;
pub mod settings;
pub mod shell;
pub mod states;
pub mod symbolize;
pub mod trace;
pub mod unwind;
