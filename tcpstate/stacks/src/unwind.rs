//! From a stack copy to addresses of code.
//!
//! Unwind info of the files that the process maps says where each caller is; where there is none the code itself is read, and else
//! the chain of frame pointers followed. An address is accepted only where code is mapped, and a stack says whether it was followed
//! to its end.

mod cfi;
mod debug_file;
mod end;
mod image;
mod module;
mod space;
mod unwound;
mod walk;

use std::{fmt, sync::Arc};

pub use end::{StackEnd, Truncation};
pub use module::Module;
pub use unwound::{Backing, CodeAddress, UnwoundStack};

use crate::{
    copy::StackCopy,
    process::{ProcessError, perf_map::PerfMapFile},
};
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
        let (frames, end, perf_map, mapped) = match self.spaces.get(copy.pid, copy.start_stack) {
            Ok(space) => {
                let (frames, end) = self.walker.walk(copy, space, &mut self.modules);
                (frames, end, Arc::clone(space.perf_map()), Arc::clone(space.mapped()))
            }
            Err(unknown) => {
                let first = CodeAddress { ip: copy.registers.ip, is_return: false, backing: Backing::Unknown };
                let end = StackEnd::Truncated(unknown.into());
                (vec![first], end, Arc::new(PerfMapFile::new(copy.pid)), [].into())
            }
        };
        UnwoundStack {
            frames,
            end,
            varying: false,
            kernel: copy.kernel.to_vec(),
            asleep: copy.asleep,
            perf_map,
            mapped,
        }
    }
}

impl From<Unknown> for Truncation {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Replaced => Self::ProgramGone,
            Unknown::Process(ProcessError::Gone(_)) => Self::ProcessGone,
            Unknown::Process(error @ ProcessError::Read { .. }) => Self::NoMappings(error.to_string().into()),
        }
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
