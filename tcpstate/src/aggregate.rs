//! Figures over many transitions. No I/O, no clock: time comes with the transitions.

pub mod dwell;
