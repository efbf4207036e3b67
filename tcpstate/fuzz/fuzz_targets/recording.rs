//! Any bytes as a recording, and what is made of it. `cargo +nightly fuzz run recording` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::recording::recording;

fuzz_target!(|bytes: &[u8]| recording(bytes));
