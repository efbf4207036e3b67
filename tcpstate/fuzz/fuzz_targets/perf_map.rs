//! Any bytes as a perf map, which the process it is of writes. `cargo +nightly fuzz run perf_map` in `tcpstate` runs it.

#![no_main]

use std::{fs, process, sync::Arc};

use libfuzzer_sys::fuzz_target;
use tcpstate_stacks::{Backing, CodeAddress, Namer, StackEnd, UnwoundStack, process::perf_map::PerfMapFile};

fuzz_target!(|text: &[u8]| {
    let path = format!("/tmp/perf-{}.map", process::id());
    fs::write(&path, text).expect("`/tmp` is writable");
    let stack = stack(text);
    let named = Namer::new().name(&stack);
    fs::remove_file(&path).expect("just written");
    assert_eq!(named.frames.len(), stack.frames.len());
    assert!(named.frames.iter().all(|frame| frame.module.is_none() && frame.function.as_deref() != Some("")));
});

/// Of addresses that the map may have names for: numbers in it, and those around them.
fn stack(text: &[u8]) -> UnwoundStack {
    let number = |word: &[u8]| u64::from_str_radix(str::from_utf8(word).ok()?, 16).ok();
    let numbers = text.split(|byte| !byte.is_ascii_hexdigit()).filter_map(number).take(64);
    let around = |ip: u64| [ip.wrapping_sub(1), ip, ip.wrapping_add(1)];
    let address = |ip| CodeAddress { ip, is_return: ip % 2 == 0, backing: Backing::Jit };
    UnwoundStack {
        frames: numbers.chain([0, u64::MAX]).flat_map(around).map(address).collect(),
        end: StackEnd::Complete,
        varying: false,
        kernel: Vec::new(),
        asleep: false,
        perf_map: Arc::new(PerfMapFile::new(process::id())),
        mapped: [].into(),
    }
}
