//! Any stack in any code. `cargo +nightly fuzz run unwinding` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_fuzzing::unwinding::unwinding;

fuzz_target!(|bytes: &[u8]| unwinding(bytes));
