//! Any bytes as a file with code, whose functions are asked for.

use tcpstate_stacks::worker::Worker;
use tcpstate_wire::{Task, WorkerAnswer};

use crate::supplies::{MODULE, Supplies};

/// Longest name, bytes.
const LONGEST_NAME: usize = 2048 + '…'.len_utf8();

/// Asks for the names of addresses that are in the bytes, with the bytes as the file.
///
/// # Panics
///
/// When an answer is missing, or longer than is shown.
pub fn names(bytes: &[u8]) {
    let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk().copied().map(u64::from_le_bytes));
    let addresses: Vec<u64> = words.take(32).chain((0..8).map(|n| 0x1000 + n * 0x40)).collect();
    let mut supplies = Supplies { file: bytes.to_vec(), ..Supplies::default() };
    let task = Task::Name { module: MODULE, addresses: addresses.clone() };
    let WorkerAnswer::Named { functions, .. } = Worker::default().perform(task, &mut supplies) else {
        panic!("no names");
    };
    assert_eq!(functions.len(), addresses.len());
    for function in functions.iter().flatten() {
        assert!(function.name.len() <= LONGEST_NAME, "{} bytes", function.name.len());
    }
}
