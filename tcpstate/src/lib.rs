//! User space of tcpstate.
//!
//! A transition goes one way: `kernel` (ring buffer) → `decode` → [`model`] → `aggregate` → `report`. Only `kernel` knows
//! aya; `aggregate` and `report` do no I/O of their own and take time as an argument.

pub mod model;
pub mod process;
pub mod symbolize;
pub mod unwind;
