//! How a stack ends.

use std::{fmt, path::Path, sync::Arc};

/// How a stack ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// Where the thread or the program began.
    Complete,
    /// Before that.
    Truncated(Truncation),
}

/// Why a stack could not be followed to its end. Escape a path in it before showing it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Truncation {
    /// The copy of the stack is too short; with its length in bytes.
    CopyEnded(usize),
    /// A frame would lie where the thread has no stack.
    OffStack,
    /// A frame lies in a page of the stack that was not in memory.
    NotInMemory,
    /// This file has neither unwind info for the place nor a frame pointer.
    NoUnwindInfo(Arc<Path>),
    /// This file could not be read, so that nobody knows of unwind info, and no frame pointer leads on; with why not.
    Unreadable(Arc<Path>, Arc<str>),
    /// Code made at run time does not keep the frame pointer.
    NoFramePointer,
    /// The unwind info of this file is malformed, or needs registers that were not captured.
    UnusableUnwindInfo(Arc<Path>),
    /// The frames below belong to code that a signal interrupted.
    Signal,
    /// No code is mapped at this address, where a caller should be.
    NotCode(u64),
    /// More frames than anybody reads; with how many are shown.
    TooDeep(usize),
    /// The thread has no registers of user space: it belongs to the kernel.
    NoRegisters,
    /// The process ended before its mappings were read.
    ProcessGone,
    /// The process executed another program before its mappings were read.
    ProgramGone,
    /// Its mappings could not be read.
    NoMappings(Arc<str>),
}

impl fmt::Display for StackEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Truncated(reason) => write!(f, "truncated: {reason}"),
        }
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopyEnded(bytes) if bytes % 1024 == 0 => {
                write!(f, "the copy of the stack ended after {} KiB", bytes / 1024)
            }
            Self::CopyEnded(bytes) => write!(f, "the copy of the stack ended after {bytes} bytes"),
            Self::OffStack => f.write_str("a frame lies outside of the stack"),
            Self::NotInMemory => f.write_str("a frame lies in a page of the stack that was not in memory"),
            Self::NoUnwindInfo(path) => write!(f, "no unwind info and no frame pointer in `{}`", path.display()),
            Self::Unreadable(path, why) => write!(f, "`{}` could not be read: {why}", path.display()),
            Self::NoFramePointer => f.write_str("no frame pointer in code made at run time"),
            Self::UnusableUnwindInfo(path) => write!(f, "unusable unwind info in `{}`", path.display()),
            Self::Signal => f.write_str("the frames that a signal interrupted are not followed"),
            Self::NotCode(address) => write!(f, "no code at the return address 0x{address:x}"),
            Self::TooDeep(frames) => write!(f, "more than {frames} frames"),
            Self::NoRegisters => f.write_str("no registers of user space"),
            Self::ProcessGone => f.write_str("the process ended before its mappings were read"),
            Self::ProgramGone => f.write_str("the process executed another program before its mappings were read"),
            Self::NoMappings(error) => f.write_str(error),
        }
    }
}
