//! Frames of programs that an interpreter runs: how the kernel side finds them in a process, and what they are called.
//!
//! An interpreter that calls from one function of a program to the next without native code in between has the same native stack for
//! both, so its own list of frames is what tells them apart. Where that list is differs from version to version. What is known of a
//! version is checked on the process itself before anything is said of it: whoever runs the process may have built the interpreter.

mod memory;
mod python;
mod way;

use std::collections::{HashMap, hash_map::Entry};

use tcpstate_common::interpreted::{FRAME_WORDS, HOPS, INTERPRETED_FRAMES};
use tcpstate_wire::{FrameRecipe, FrameWords, InterpretedFrame, Interpreter, Language, ListEnd, ModuleId};

use crate::{
    supplier::Supplier,
    symbolize,
    unwind::{Mapped, Module},
};
use memory::Memory;
use python::{Codes, Exports, Python, Unfit};

/// How many processes are remembered.
const MOST_PROCESSES: usize = 128;
/// How many modules are remembered with what they are.
const MOST_MODULES: usize = 1024;
/// How often memory may be read to find out where a process has its frames.
const MOST_READS: usize = 8192;
/// How often memory may be read for each frame that is named.
const MOST_READS_OF_FRAME: usize = 16;

/// How often memory may be read to follow the list of a thread: a word at a time.
const MOST_READS_OF_WALK: usize = HOPS + INTERPRETED_FRAMES * (FRAME_WORDS + 1);

/// What is known of interpreters in processes.
#[derive(Debug, Default)]
pub(crate) struct KnownInterpreters {
    /// By number, with that of the request that asked for it last.
    processes: HashMap<u32, (Process, u64)>,
    requests: u64,
    /// What modules export of an interpreter, as they count addresses.
    exports: HashMap<ModuleId, Option<Result<Exports, Unfit>>>,
    codes: Codes,
}

/// A process with an interpreter.
#[derive(Debug)]
struct Process {
    /// The broker's name for the memory that this is of: another program has another.
    memory: u64,
    python: Python,
    recipe: FrameRecipe,
}

impl KnownInterpreters {
    /// What a module is to the programs that process `pid` runs; `None` stands for one that cannot be read.
    pub(crate) fn find(&mut self, pid: u32, mapped: Option<&Mapped>, supplier: &mut dyn Supplier) -> Interpreter {
        let Some(mapped) = mapped else { return Interpreter::None };
        let Some(exports) = self.exports(&mapped.module) else { return Interpreter::None };
        let mut memory = Memory::new(supplier, MOST_READS);
        match exports.and_then(|exports| Python::find(&exports.moved(mapped.bias), &mut memory)) {
            Ok((python, recipe)) => {
                self.remember(pid, Process { memory: mapped.memory, python, recipe });
                Interpreter::Walked { language: Language::Python, recipe }
            }
            Err(unfit) => Interpreter::Unfit(unfit.to_string()),
        }
    }

    /// Whether an interpreter was found in process `pid`, which has this memory now.
    pub(crate) fn knows(&self, pid: u32, memory: Option<u64>) -> bool {
        self.processes.get(&pid).is_some_and(|(process, _)| Some(process.memory) == memory)
    }

    /// Names frames of process `pid`, innermost first, which has this memory now, if it has any. Frames whose code cannot be read any
    /// more have no function.
    pub(crate) fn name(
        &mut self,
        pid: u32,
        memory: Option<u64>,
        frames: &[FrameWords],
        supplier: &mut dyn Supplier,
    ) -> Vec<InterpretedFrame> {
        self.requests += 1;
        let process = self.processes.get_mut(&pid).filter(|(process, _)| Some(process.memory) == memory);
        let mut named = match process {
            Some((process, asked)) => {
                *asked = self.requests;
                let reads = frames.len().saturating_mul(MOST_READS_OF_FRAME);
                process.python.name(process.memory, frames, &mut self.codes, &mut Memory::new(supplier, reads))
            }
            None => frames.iter().map(unnamed).collect(),
        };
        if let Some(outermost) = named.last_mut() {
            outermost.is_entry = true;
        }
        named
    }

    /// Finds and names the frames of a thread of process `pid` that sleeps, and says how they end.
    pub(crate) fn walk(
        &mut self,
        pid: u32,
        memory: Option<u64>,
        thread_pointer: u64,
        supplier: &mut dyn Supplier,
    ) -> (Vec<InterpretedFrame>, ListEnd) {
        let process = self.processes.get(&pid).filter(|(process, _)| Some(process.memory) == memory);
        let Some((process, _)) = process else { return (Vec::new(), ListEnd::NotInMemory) };
        let mut reads = Memory::new(supplier, MOST_READS_OF_WALK);
        let (frames, end) = way::frames(&process.recipe, thread_pointer, INTERPRETED_FRAMES, &mut reads);
        let words: Vec<FrameWords> = frames.into_iter().map(|(_, words)| words).collect();
        (self.name(pid, memory, &words, supplier), end)
    }

    fn exports(&mut self, module: &Module) -> Option<Result<Exports, Unfit>> {
        if self.exports.len() >= MOST_MODULES {
            self.exports.clear();
        }
        match self.exports.entry(module.id()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(vacant) => {
                let addresses = symbolize::addresses(module.file(), Exports::NAMES);
                vacant.insert(Exports::new(addresses)).clone()
            }
        }
    }

    fn remember(&mut self, pid: u32, process: Process) {
        self.requests += 1;
        if self.processes.len() >= MOST_PROCESSES
            && !self.processes.contains_key(&pid)
            && let Some((&oldest, _)) = self.processes.iter().min_by_key(|(_, (_, asked))| *asked)
        {
            self.processes.remove(&oldest);
        }
        self.processes.insert(pid, (process, self.requests));
    }
}

/// A frame of a process that nothing is known of.
fn unnamed(&[code, at, _]: &FrameWords) -> InterpretedFrame {
    InterpretedFrame { code, at, function: None, is_entry: false }
}

#[cfg(test)]
mod tests {
    use super::{python::tests::python, *};

    struct Nobody;

    fn recipe() -> FrameRecipe {
        FrameRecipe { start: 0, hops: [0; HOPS], hop_count: 1, next: 0, words: [0; FRAME_WORDS] }
    }

    impl Supplier for Nobody {
        fn supply(&mut self, _: tcpstate_wire::Need) -> (tcpstate_wire::Supply, Vec<std::fs::File>) {
            (tcpstate_wire::Supply::Gone, Vec::new())
        }
    }

    #[test]
    fn processes_are_forgotten_that_nobody_asks_for() {
        let mut interpreters = KnownInterpreters::default();
        for pid in 0..MOST_PROCESSES as u32 + 20 {
            interpreters.remember(pid, Process { memory: u64::from(pid), python: python(), recipe: recipe() });
            interpreters.name(0, Some(0), &[], &mut Nobody);
            assert!(interpreters.processes.len() <= MOST_PROCESSES);
            assert!(interpreters.processes.contains_key(&0) && interpreters.processes.contains_key(&pid));
        }
    }

    #[test]
    fn frames_of_another_program_have_no_names() {
        let mut interpreters = KnownInterpreters::default();
        interpreters.remember(7, Process { memory: 1, python: python(), recipe: recipe() });
        for (pid, memory) in [(7, None), (7, Some(2)), (8, Some(1)), (7, Some(1))] {
            let named = interpreters.name(pid, memory, &[[4096, 8192, 0], [4096, 8193, 0]], &mut Nobody);
            assert_eq!(named.iter().map(|frame| frame.code).collect::<Vec<_>>(), [4096; 2]);
            assert!(named.iter().all(|frame| frame.function.is_none()), "{named:?}");
            assert_eq!(named.iter().map(|frame| frame.is_entry).collect::<Vec<_>>(), [false, true]);
        }
        assert_eq!(interpreters.name(7, Some(1), &[], &mut Nobody), []);
        assert_eq!(interpreters.walk(7, Some(1), 4096, &mut Nobody), (Vec::new(), ListEnd::NotInMemory));
    }
}
