//! Everything that reads other programs' bytes: what they map, their stacks, their files.
//!
//! A stack goes one way: a copy of registers and memory → [`unwind`] → addresses → [`symbolize`] → functions and lines; [`process`] is
//! what `/proc` and the process's memory add. Whoever runs those programs chose every byte of it.

pub mod process;
pub mod symbolize;
pub mod unwind;
