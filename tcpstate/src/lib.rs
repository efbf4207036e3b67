//! User space of tcpstate.
//!
//! A transition goes one way: [`kernel`] (ring buffer) → `tcpstate_core` (decode → model → aggregate) → [`report`], driven by a command
//! below [`command`]. Only `kernel` knows aya; `report` does no I/O of its own and takes time as an argument.

mod census;
pub mod cli;
pub mod command;
pub mod confinement;
pub mod host;
mod hunt;
pub mod kernel;
pub mod report;
pub mod sandbox;
mod session;
pub mod settings;
