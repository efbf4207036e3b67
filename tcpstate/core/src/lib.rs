//! What tcpstate observes, and what it makes of it.
//!
//! An observation goes one way: bytes → [`decode`] → [`model`] → [`aggregate`]. Nothing here does I/O, reads a clock, or knows the kernel
//! or a runtime: time comes as an argument, so that every rule is tested with events that a test makes up.

#![forbid(unsafe_code)]

pub mod aggregate;
pub mod decode;
pub mod model;
