//! The processes that were asked about lately.

use std::{collections::HashMap, fs::File, mem, os::unix::fs::FileExt};

use tcpstate_wire::{Mappings, Subject, Supply};

use crate::{
    mappings,
    process::{ProcessError, program, start, thread},
};

/// How many processes are remembered. Each holds a file open.
const MOST_SUBJECTS: usize = 128;

/// The processes that were asked about lately.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    /// With the number of the request that asked for it last.
    known: HashMap<u32, (Known, u64)>,
    requests: u64,
}

/// What is kept of a process.
#[derive(Debug)]
pub(crate) struct Known {
    /// Which it is.
    pub(crate) subject: Subject,
    /// `/proc/TID/mem`: bound to the memory that the process had when it was opened, not to its pid. `None` where that is refused.
    pub(crate) memory: Option<File>,
    /// As they were read last.
    pub(crate) mappings: Mappings,
    /// Whether nobody has asked for them yet.
    is_fresh: bool,
}

impl Subjects {
    /// What is known of a process: as it is now or, when it has ended, as it was.
    ///
    /// # Errors
    ///
    /// What to answer where nothing is known of it: [`Supply::Gone`], [`Supply::Replaced`], [`Supply::Refused`].
    pub(crate) fn get(&mut self, subject: Subject) -> Result<&mut Known, Supply> {
        let pid = subject.pid;
        self.requests += 1;
        let is_it = |known: &Known| known.subject.is(&subject) || known.is_current();
        if !self.known.get(&pid).is_some_and(|(known, _)| is_it(known)) {
            match Known::read(pid, self.requests) {
                Ok(known) => {
                    if self.known.len() >= MOST_SUBJECTS
                        && let Some((&oldest, _)) = self.known.iter().min_by_key(|(_, (_, asked))| *asked)
                    {
                        self.known.remove(&oldest);
                    }
                    self.known.insert(pid, (known, self.requests));
                }
                Err(error) if !self.known.contains_key(&pid) => return Err(refusal(error)),
                Err(_) => {}
            }
        }
        let (known, asked) = self.known.get_mut(&pid).ok_or(Supply::Gone)?;
        *asked = self.requests;
        if known.subject.may_be(&subject) { Ok(known) } else { Err(Supply::Replaced) }
    }
}

pub(crate) fn refusal(error: ProcessError) -> Supply {
    match error {
        ProcessError::Gone(_) => Supply::Gone,
        error @ ProcessError::Read { .. } => Supply::Refused { module: None, why: error.to_string() },
    }
}

impl Known {
    pub(crate) fn read(pid: u32, number: u64) -> Result<Self, ProcessError> {
        let memory = File::open(thread::file(pid, "mem")).ok();
        let subject = Subject { pid, start_stack: program::start_stack(pid), began: start::ticks(pid) };
        let mappings = Mappings { memory: number, ..mappings::read(subject)? };
        let known = Self { subject, memory, mappings, is_fresh: true };
        // Its number may have become another's between two of these reads.
        if known.is_current() { Ok(known) } else { Err(ProcessError::Gone(pid)) }
    }

    /// Reads the mappings again: something may have been mapped since. Returns whether they are still there; nothing changes when they
    /// cannot be read, or are those of another program.
    pub(crate) fn refresh(&mut self) -> bool {
        if mem::take(&mut self.is_fresh) {
            return self.is_current();
        }
        if !self.is_current() {
            return false;
        }
        let Ok(fresh) = mappings::read(self.subject) else { return false };
        if !self.is_current() {
            return false;
        }
        self.mappings = Mappings { memory: self.mappings.memory, ..fresh };
        true
    }

    /// Whether the process still has the memory whose mappings these are: it neither ended nor executed another program.
    pub(crate) fn is_current(&self) -> bool {
        let Subject { pid, start_stack, began } = self.subject;
        match &self.memory {
            // `mem_rw()`, `fs/proc/base.c`, Linux 6.18: 0 bytes when the memory is gone, EIO when only the address is wrong.
            Some(memory) => !matches!(memory.read_at(&mut [0], 4096), Ok(0)),
            // Nobody may look into it (Yama's `ptrace_scope` of 3), so all that is left is to see whether it seems to be the same.
            None => start::ticks(pid) == began && program::start_stack(pid) == start_stack,
        }
    }

    /// Memory from an address on, at most `length` bytes: fewer where it ends sooner.
    pub(crate) fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = self.memory.as_ref().and_then(|memory| memory.read_at(&mut bytes, address).ok()).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory() {
        let here = [0x5a_u8; 64];
        let mut subjects = Subjects::default();
        let subject = Subject::numbered(std::process::id());
        let known = subjects.get(subject).expect("own process");
        assert!(known.is_current());
        assert_eq!(known.memory(here.as_ptr() as u64, 64), here);
        for address in [0, 8, u64::MAX - 5, 1 << 63] {
            assert!(known.memory(address, 4096).is_empty());
        }
        let own = known.subject;
        assert!(subjects.get(own).is_ok());
        let executes_another = Subject { start_stack: own.start_stack.map(|start| start + 16), ..own };
        let is_another = Subject { began: own.began.map(|began| began + 1), ..own };
        for other in [executes_another, is_another] {
            assert!(matches!(subjects.get(other), Err(Supply::Replaced)), "{other:?}");
        }
        assert!(matches!(subjects.get(Subject::numbered(i32::MAX as u32)), Err(Supply::Gone)));
    }

    #[test]
    fn where_nobody_may_look_into_memory() {
        let known = Known { memory: None, ..Known::read(std::process::id(), 1).expect("own process") };
        assert!(known.is_current() && known.memory(known.mappings.regions[0].start, 8).is_empty());
        let later = known.subject.began.map(|began| began + 1);
        let other = Known { subject: Subject { began: later, ..known.subject }, ..known };
        assert!(!other.is_current(), "another process with the same number");
    }
}
