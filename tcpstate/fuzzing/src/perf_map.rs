//! Any bytes as a perf map.

use tcpstate_stacks::worker::Worker;
use tcpstate_wire::{Task, WorkerAnswer};

use crate::supplies::Supplies;

/// Asks for the names of addresses that the map may have: numbers in it, and those around them.
///
/// # Panics
///
/// When an answer is missing, or says nothing.
pub fn perf_map(text: &[u8]) {
    let number = |word: &[u8]| u64::from_str_radix(str::from_utf8(word).ok()?, 16).ok();
    let numbers = text.split(|byte| !byte.is_ascii_hexdigit()).filter_map(number).take(64);
    let around = |ip: u64| [ip.wrapping_sub(1), ip, ip.wrapping_add(1)];
    let addresses: Vec<u64> = numbers.chain([0, u64::MAX]).flat_map(around).collect();
    let mut supplies = Supplies { perf_map: Some(text.to_vec()), ..Supplies::default() };
    let task = Task::NameJit { addresses: addresses.clone() };
    let WorkerAnswer::NamedJit { functions } = Worker::default().perform(task, &mut supplies) else {
        panic!("no names");
    };
    assert_eq!(functions.len(), addresses.len());
    assert!(functions.iter().flatten().all(|function| !function.name.is_empty()));
}
