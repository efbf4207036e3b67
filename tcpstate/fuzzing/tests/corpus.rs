//! What libFuzzer does for hours, for seconds and with stable Rust.

use std::time::Duration;

use tcpstate_fuzzing::{decode, mappings, messages, names, perf_map, recording, unwinding, vary::vary};

/// More than is needed, but on a machine that is busy.
const TIME: Duration = Duration::from_secs(10);

#[test]
fn decode() {
    vary("decode", 20_000, TIME, decode::decode);
}

#[test]
fn recording() {
    vary("recording", 10_000, TIME, recording::recording);
}

#[test]
fn mappings() {
    vary("mappings", 10_000, TIME, mappings::mappings);
}

#[test]
fn messages() {
    vary("messages", 5_000, TIME, messages::messages);
}

#[test]
fn names() {
    vary("names", 5_000, TIME, names::names);
}

#[test]
fn perf_map() {
    vary("perf_map", 10_000, TIME, perf_map::perf_map);
}

#[test]
fn unwinding() {
    vary("unwinding", 10_000, TIME, unwinding::unwinding);
}
