//! `CPython`'s threads, and where each has its state from its thread pointer on.
//!
//! An extension module asks for the state of the thread that it runs in (`PyGILState_GetThisThreadState`), so it is kept for as long as
//! the thread lives under a key of `pthread_setspecific`. Since 3.12 there is a thread-local variable with the state, too, but that is
//! empty while the thread waits for anything (`Python/pystate.c`).

use super::{layout::Layout, unfit::Unfit};
use crate::interpreted::memory::{Memory, word};

/// More interpreters in a process are not looked at.
const MOST_INTERPRETERS: usize = 64;
/// More threads are not looked at.
const MOST_THREADS: usize = 4096;
/// Threads that are enough to tell.
const ENOUGH: usize = 16;
/// Where glibc has the values of the first 32 keys, from the thread pointer on, on x86-64: somewhere in its `struct pthread`.
const KEYS: std::ops::Range<u32> = 0x200..0x900;

/// The threads of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundThreads {
    /// Where each has its state, from the thread pointer on.
    pub(super) slot: u32,
    /// The thread pointers of some of them.
    pub(super) pointers: Vec<u64>,
}

/// Finds the threads that have their state at the same place.
pub(super) fn find(runtime: u64, layout: &Layout, memory: &mut Memory<'_>) -> Result<FoundThreads, Unfit> {
    let name = layout.version.name();
    let mut search = Search { layout, memory, looked_at: 0, was_any: false, found: Vec::new() };
    search.runtime(runtime);
    let Search { was_any, found, .. } = search;
    if !was_any {
        return Err(Unfit::NoThread(name));
    }
    // Extension modules that keep the state under a key of their own began later, and the keys are given out in order.
    let common = |slot: &&u32| found.iter().all(|(_, slots)| slots.contains(slot));
    let slot = found.first().and_then(|(_, slots)| slots.iter().find(common)).copied();
    let slot = slot.ok_or(Unfit::NoSlot(name))?;
    Ok(FoundThreads { slot, pointers: found.into_iter().map(|(pointer, _)| pointer).collect() })
}

/// Goes through the threads of a process.
struct Search<'a, 'b> {
    layout: &'a Layout,
    memory: &'a mut Memory<'b>,
    looked_at: usize,
    /// Whether any of them has a thread pointer.
    was_any: bool,
    /// Thread pointers, and where they may have their states.
    found: Vec<(u64, Vec<u32>)>,
}

impl Search<'_, '_> {
    /// Through all interpreters.
    fn runtime(&mut self, runtime: u64) {
        let Layout { interpreters, interpreter, .. } = *self.layout;
        let mut next = self.memory.word(runtime.wrapping_add(interpreters.into()));
        for _ in 0..MOST_INTERPRETERS {
            let Some(address) = next.filter(|&address| is_object(address)) else { return };
            self.interpreter(address);
            next = self.memory.word(address.wrapping_add(interpreter.next.into()));
        }
    }

    /// Through the threads of one.
    fn interpreter(&mut self, interpreter: u64) {
        let thread = self.layout.thread;
        let length = thread.next.max(thread.interpreter).max(thread.id) + size_of::<u64>() as u32;
        let mut next = self.memory.word(interpreter.wrapping_add(self.layout.interpreter.threads.into()));
        while self.looked_at < MOST_THREADS && self.found.len() < ENOUGH {
            let Some(state) = next.filter(|&address| is_object(address)) else { return };
            self.looked_at += 1;
            let bytes = self.memory.read(state, length);
            // Where it ended meanwhile its state leads elsewhere.
            if word(&bytes, thread.interpreter) != Some(interpreter) {
                return;
            }
            if let Some(id) = word(&bytes, thread.id) {
                self.thread(state, id);
            }
            next = word(&bytes, thread.next);
        }
    }

    /// One of them, with what `pthread_self` returned: the thread pointer, which is known by what it points to. glibc's `tcbhead_t` begins
    /// with its own address, and has it again after another word.
    fn thread(&mut self, state: u64, pointer: u64) {
        let head = self.memory.read(pointer, 24);
        if word(&head, 0) != Some(pointer) || word(&head, 16) != Some(pointer) {
            return;
        }
        self.was_any = true;
        let keys = self.memory.read(pointer.wrapping_add(KEYS.start.into()), KEYS.end - KEYS.start);
        let slots = slots(state, &keys);
        // A thread that is about to begin, or that is in another interpreter for now, has another state there, or none.
        if !slots.is_empty() {
            self.found.push((pointer, slots));
        }
    }
}

fn is_object(address: u64) -> bool {
    address != 0 && address.is_multiple_of(8)
}

/// Where among the keys of a thread its state is.
fn slots(state: u64, keys: &[u8]) -> Vec<u32> {
    // `struct pthread_key_data`: a number that is odd as long as the key is in use and counts how often it was given out, and the value.
    (8..KEYS.end - KEYS.start)
        .step_by(16)
        .filter(|&at| {
            let used = word(keys, at - 8).is_some_and(|count| count & 1 == 1 && count <= u64::from(u32::MAX));
            used && word(keys, at) == Some(state)
        })
        .map(|at| KEYS.start + at)
        .collect()
}
