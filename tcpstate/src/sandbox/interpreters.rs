//! Interpreters of processes: what is known of them.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use tcpstate_broker::Program;
use tcpstate_common::interpreted::Recipe;
use tcpstate_wire::{FrameRecipe, Interpreter, Subject};

use super::interpreter;

/// Processes of which it is remembered what interprets their programs.
const MOST_KNOWN: usize = 4096;

/// Most regions in which an interpreter is looked for.
const MOST_REGIONS: usize = 4;
/// How often an interpreter is looked for in a process in which it was not fit to be looked into.
const MOST_TRIES: u32 = 10;
/// Half of the time that passes until it is looked for again, which doubles with each time.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// What was found out, by number and start of the stack of a process.
#[derive(Debug, Default)]
pub(super) struct Interpreters {
    known: HashMap<(u32, u64), InterpreterOf>,
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub(super) struct InterpreterOf {
    /// The first address of the region that has the interpreter's code.
    pub(super) region: u64,
    pub(super) interpreter: Interpreter,
    /// How often that was looked for, and when last.
    tries: u32,
    tried: Instant,
}

impl InterpreterOf {
    pub(super) fn new(region: u64, interpreter: Interpreter, before: Option<&Self>) -> Self {
        let tries = before.map_or(0, |before| before.tries) + 1;
        Self { region, interpreter, tries, tried: Instant::now() }
    }

    /// Whether what is known may have changed: an interpreter that has just begun runs nothing yet.
    pub(super) fn is_due(&self) -> bool {
        let waits = FIRST_WAIT.saturating_mul(1 << self.tries.min(MOST_TRIES));
        matches!(self.interpreter, Interpreter::Unfit(_)) && self.tries < MOST_TRIES && self.tried.elapsed() >= waits
    }
}

impl Interpreters {
    pub(super) fn get(&self, subject: Subject) -> Option<&InterpreterOf> {
        self.known.get(&key(subject)?)
    }

    pub(super) fn insert(&mut self, subject: Subject, known: InterpreterOf) {
        let Some(key) = key(subject) else { return };
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(key, known);
    }
}

/// A fork has what its parent has, but is read by itself.
fn key(Subject { pid, start_stack, .. }: Subject) -> Option<(u32, u64)> {
    Some((pid, start_stack?))
}

/// Where a process may have the code of an interpreter whose frames can be found: an executable may have it in a library.
pub(super) fn regions(program: &Program) -> Vec<u64> {
    program.regions(interpreter::is_python).take(MOST_REGIONS).collect()
}

/// The processes whose executable is such an interpreter, as many as are remembered. Where it is a library of another one, it is found when
/// a stack comes.
pub(super) fn running() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let interprets = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|executable| interpreter::is_python(&executable))
    };
    pids.filter(interprets).take(MOST_KNOWN).collect()
}

/// The recipe as the kernel side takes it.
pub(super) fn for_kernel(recipe: &FrameRecipe) -> Recipe {
    let FrameRecipe { start, hops, hop_count, next, words } = *recipe;
    Recipe { start, hops, hop_count, next, words, pad: 0 }
}
