//! What is done with bytes that somebody else chose: one function for each kind of them, which takes any bytes and panics where
//! something is wrong.
//!
//! The targets in `tcpstate/fuzz` hand them what libFuzzer finds. The tests of this crate hand them, with stable Rust and in a few
//! seconds, what is in `tcpstate/fuzz/corpus` and [variations](vary) of that.

pub mod decode;
pub mod mappings;
pub mod messages;
pub mod names;
pub mod noise;
pub mod perf_map;
pub mod recording;
mod supplies;
pub mod unwinding;
pub mod vary;
