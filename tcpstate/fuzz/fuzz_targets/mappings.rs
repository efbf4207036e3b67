//! Any bytes as the text of `/proc/PID/maps`. `cargo +nightly fuzz run mappings` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::mappings::mappings;

fuzz_target!(|bytes: &[u8]| mappings(bytes));
