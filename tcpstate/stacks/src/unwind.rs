//! From a captured stack to code addresses.
//!
//! A stack is registers and bytes, captured in the kernel or read from a sleeping thread. Unwind info of the files that the
//! process maps says where each caller is; where there is none the code itself is read, and else the chain of frame pointers
//! followed. An address is accepted only where code is mapped, and a stack says whether it was followed to its end.

mod arch;
mod cfi;
mod code;
mod debug_file;
mod fold;
mod image;
mod module;
mod space;
mod types;
mod walk;

use std::{fmt, sync::Arc};

pub use fold::{Folded, fold};
pub use module::Module;
pub use types::{Backing, CodeAddress, Registers, StackCopy, StackEnd, Truncation, UnwoundStack};

use crate::process::{ProcessError, perf_map::PerfMapFile};
use module::Modules;
use space::{Spaces, Unknown};
use walk::Walker;

/// Follows stacks, and remembers the processes and files it has seen.
#[derive(Default)]
pub struct Unwinder {
    spaces: Spaces,
    modules: Modules,
    walker: Walker,
}

impl fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwinder").field("spaces", &self.spaces).field("modules", &self.modules).finish_non_exhaustive()
    }
}

impl Unwinder {
    /// One that knows no process yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows a stack as far as it goes. Never fails: [`UnwoundStack::end`] says what is missing.
    ///
    /// The first stack of a process reads its mappings and the files on the way, so the process must be alive then. It need
    /// not be for the next ones, as long as they lead through the same files.
    pub fn unwind(&mut self, copy: &StackCopy<'_>) -> UnwoundStack {
        match self.spaces.get(copy.pid, copy.start_stack) {
            Ok(space) => {
                let (frames, end) = self.walker.walk(copy, space, &mut self.modules);
                UnwoundStack { frames, end, perf_map: Arc::clone(space.perf_map()), mapped: Arc::clone(space.mapped()) }
            }
            Err(unknown) => {
                let reason = match unknown {
                    Unknown::Replaced => Truncation::ProgramGone,
                    Unknown::Process(ProcessError::Gone(_)) => Truncation::ProcessGone,
                    Unknown::Process(error @ ProcessError::Read { .. }) => {
                        Truncation::NoMappings(error.to_string().into())
                    }
                };
                UnwoundStack {
                    frames: vec![CodeAddress { ip: copy.registers.ip, is_return: false, backing: Backing::Unknown }],
                    end: StackEnd::Truncated(reason),
                    perf_map: Arc::new(PerfMapFile::new(copy.pid)),
                    mapped: [].into(),
                }
            }
        }
    }

    /// Forgets a process that has ended. Its files stay known.
    pub fn forget(&mut self, pid: u32) {
        self.spaces.forget(pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_go_from_thread_to_thread() {
        fn is_send<T: Send>() {}
        is_send::<Unwinder>();
        is_send::<UnwoundStack>();
    }
}
