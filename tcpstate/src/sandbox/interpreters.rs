//! Interpreters of processes: what is known of them.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, time::Instant};

use tcpstate_broker::Program;
use tcpstate_common::{
    COMM_LEN,
    interpreted::{Begun, Recipe},
};
use tcpstate_wire::{FrameRecipe, Interpreter, Subject};

use super::{beginning::wait_after, interpreter};

/// Processes of which it is remembered what interprets their programs.
const MOST_KNOWN: usize = 4096;

/// Most regions in which an interpreter is looked for.
const MOST_REGIONS: usize = 4;

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
    /// How often that was looked for because stacks came, and when last.
    pub(super) tries: u32,
    tried: Instant,
}

impl InterpreterOf {
    pub(super) fn new(region: u64, interpreter: Interpreter, tries: u32) -> Self {
        Self { region, interpreter, tries, tried: Instant::now() }
    }

    /// Whether frames can be followed.
    pub(super) fn is_walked(&self) -> bool {
        matches!(self.interpreter, Interpreter::Walked { .. })
    }

    /// Whether a stack that comes is a reason to look again: an interpreter that has just begun runs nothing yet, and may not be mapped.
    pub(super) fn is_due(&self) -> bool {
        !self.is_walked() && self.tried.elapsed() >= wait_after(self.tries)
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

/// The processes that may be looked into before a socket of theirs is wanted: those that the filters do not leave out whatever sockets they
/// have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interpretable {
    /// Their numbers; all, where none is given.
    pub(crate) pids: Vec<u32>,
    /// Their names; any, where none is given.
    pub(crate) comms: Vec<[u8; COMM_LEN]>,
    /// The inode of their network namespace.
    pub(crate) netns: Option<u32>,
}

impl Interpretable {
    /// Those that are there, as many as are remembered. Where none is named, those whose executable is an interpreter: where it is a library
    /// of another one, it is found when a stack comes.
    pub(super) fn running(&self) -> Vec<Begun> {
        let all = || {
            let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            pids.filter(|&pid| executes_one(pid)).take(MOST_KNOWN).collect()
        };
        let pids = if self.pids.is_empty() { all() } else { self.pids.clone() };
        let pids = pids.into_iter().filter(|&pid| self.leaves_in(pid));
        pids.filter_map(|pid| Some(Begun { tgid: pid, uid: real_user(pid)? })).collect()
    }

    /// Whether a process has a right name and network namespace.
    pub(super) fn leaves_in(&self, pid: u32) -> bool {
        let is = |name: &[u8]| self.comms.iter().any(|comm| comm.split(|byte| *byte == 0).next() == Some(name));
        let is_named =
            || fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| is(name.strip_suffix(b"\n").unwrap_or(&name)));
        let is_in = |netns: u32| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|namespace| namespace.ino() == u64::from(netns))
        };
        (self.comms.is_empty() || is_named()) && self.netns.is_none_or(is_in)
    }
}

/// Whether the executable of a process is an interpreter.
pub(super) fn executes_one(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|executable| interpreter::is_python(&executable))
}

/// Whose a process is.
pub(super) fn real_user(pid: u32) -> Option<u32> {
    // A name need not be UTF-8.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The recipe as the kernel side takes it; `None` of one that it cannot follow.
pub(super) fn for_kernel(recipe: &FrameRecipe) -> Option<Recipe> {
    let FrameRecipe { start, hops, hop_count, next, words } = *recipe;
    let last = words.into_iter().fold(next, u32::max).saturating_add(7);
    Some(Recipe { start, hops, hop_count, next, words, last }).filter(Recipe::is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_of_frames_lies_within_what_is_read() {
        let recipe = FrameRecipe { start: 0x318, hops: [0, 56, 0, 0], hop_count: 3, next: 48, words: [32, 56, 64] };
        assert_eq!(for_kernel(&recipe).map(|recipe| recipe.last), Some(71));
        assert!(for_kernel(&FrameRecipe { next: 120, ..recipe }).is_some());
        for wrong in [4, 121, 128, u32::MAX, u32::MAX - 7] {
            assert_eq!(for_kernel(&FrameRecipe { next: wrong, ..recipe }), None, "{wrong}");
            assert_eq!(for_kernel(&FrameRecipe { words: [0, wrong, 8], ..recipe }), None, "{wrong}");
        }
    }
}
