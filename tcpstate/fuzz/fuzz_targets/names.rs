//! Any bytes as a file with code. `cargo +nightly fuzz run names` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::names::names;

fuzz_target!(|bytes: &[u8]| names(bytes));
