//! Any bytes as what the kernel hands over. `cargo +nightly fuzz run decode` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::decode::decode;

fuzz_target!(|bytes: &[u8]| decode(bytes));
