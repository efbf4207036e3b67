//! Any bytes as a perf map. `cargo +nightly fuzz run perf_map` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::perf_map::perf_map;

fuzz_target!(|bytes: &[u8]| perf_map(bytes));
