//! Any bytes as messages of a worker. `cargo +nightly fuzz run messages` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::messages::messages;

fuzz_target!(|bytes: &[u8]| messages(bytes));
