//! A stack as addresses of code: what comes out.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{end::StackEnd, module::Module};
use crate::process::perf_map::PerfMapFile;

/// A stack as addresses of code, each with what it belongs to: all that naming it takes, also when the process has ended since, and
/// enough to tell it from other stacks of the process.
#[derive(Clone, Debug)]
pub struct UnwoundStack {
    /// Innermost first: from the system call to the function with which the thread began. Never empty.
    pub frames: Vec<CodeAddress>,
    /// Whether that is all.
    pub end: StackEnd,
    /// Whether other stacks were met that go on otherwise: `frames` are what is common, see [`Self::meet`].
    pub varying: bool,
    /// Addresses in the kernel, innermost first; none where they are not wanted.
    pub kernel: Vec<u64>,
    /// Whether the thread sleeps. Else a hook met it, and the tracing itself is on its kernel stack.
    pub asleep: bool,
    /// Names of code that the process makes at run time; also says which process it is.
    pub perf_map: Arc<PerfMapFile>,
    /// The files whose code the process maps, in its mount namespace: which runtime it is, even where no frame of that was
    /// reached.
    pub mapped: Arc<[PathBuf]>,
}

impl UnwoundStack {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.perf_map.pid()
    }

    /// Takes in another stack that was met at the same place. Where the two differ, only what is common is kept. Returns whether they
    /// do.
    ///
    /// Code that is made at run time moves while the same functions run, so that alone is no difference.
    pub fn meet(&mut self, other: &Self) -> bool {
        if self.kernel.is_empty() {
            self.kernel.clone_from(&other.kernel);
        }
        if self.fixed().eq(other.fixed()) {
            return false;
        }
        let common = self.frames.iter().zip(&other.frames).take_while(|(own, others)| own == others).count();
        self.frames.truncate(common.max(1));
        self.varying = true;
        true
    }

    /// Its addresses but those of code that may move.
    fn fixed(&self) -> impl Iterator<Item = &CodeAddress> {
        self.frames.iter().filter(|address| address.backing != Backing::Jit)
    }
}

/// An address of code, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeAddress {
    /// The address in the process: of the instruction, or of the one after the call.
    pub ip: u64,
    /// Whether it is of the one after a call. The call itself, which names function and line, ends one byte before.
    pub is_return: bool,
    /// What the instruction or the call belongs to.
    pub backing: Backing,
}

/// What an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// A file that was read.
    Module {
        /// The file.
        module: Arc<Module>,
        /// The address as the file counts them; of a call, the last byte of it.
        address: u64,
    },
    /// A file that could not be read.
    Unreadable {
        /// Its path in the mount namespace of the process: escape it before showing it.
        path: Arc<Path>,
        /// Offset in the file; of a call, the last byte of it.
        offset: u64,
        /// Why not.
        why: Arc<str>,
    },
    /// Code that was made at run time.
    Jit,
    /// Nothing that is known.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(u64, Backing)]) -> UnwoundStack {
        let address =
            |(ip, backing): &(u64, Backing)| CodeAddress { ip: *ip, is_return: true, backing: backing.clone() };
        UnwoundStack {
            frames: frames.iter().map(address).collect(),
            end: StackEnd::Complete,
            varying: false,
            kernel: Vec::new(),
            asleep: false,
            perf_map: Arc::new(PerfMapFile::new(7)),
            mapped: [].into(),
        }
    }

    fn file(offset: u64) -> (u64, Backing) {
        (0x1000 + offset, Backing::Unreadable { path: Path::new("/bin/a").into(), offset, why: "gone".into() })
    }

    #[test]
    fn only_what_is_common_is_kept() {
        let mut known = stack(&[file(1), file(2), file(3)]);
        assert!(!known.meet(&stack(&[file(1), file(2), file(3)])) && !known.varying);
        assert!(known.meet(&stack(&[file(1), file(2), file(4), file(5)])) && known.varying);
        assert_eq!(known.frames, stack(&[file(1), file(2)]).frames);
        assert!(known.meet(&stack(&[file(9)])));
        assert_eq!(known.frames, stack(&[file(1)]).frames, "never empty");
    }

    #[test]
    fn code_made_at_run_time_may_move() {
        let mut known = stack(&[file(1), (0x7000, Backing::Jit), file(2)]);
        assert!(!known.meet(&stack(&[file(1), (0x8000, Backing::Jit), (0x9000, Backing::Jit), file(2)])));
        assert_eq!(known.frames[1].ip, 0x7000, "the first one stays");
    }

    #[test]
    fn the_kernel_s_part_is_that_of_the_first_that_has_one() {
        let with = |kernel: &[u64]| UnwoundStack { kernel: kernel.to_vec(), ..stack(&[file(1)]) };
        let mut known = with(&[]);
        for kernel in [&[7][..], &[8]] {
            assert!(!known.meet(&with(kernel)));
        }
        assert_eq!(known.kernel, [7]);
    }
}
