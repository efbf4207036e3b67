//! What goes in and what comes out.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Module;
use crate::process::perf_map::PerfMapFile;

/// Registers of a thread in user space, where a stack begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer: `rip`.
    pub ip: u64,
    /// Stack pointer: `rsp`.
    pub sp: u64,
    /// Frame pointer, or whatever else the code keeps there: `rbp`.
    pub fp: u64,
}

/// A stack as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// Process (thread-group id) in the initial pid namespace.
    pub pid: u32,
    /// Registers of the thread.
    pub registers: Registers,
    /// Memory from `registers.sp` upwards.
    pub bytes: &'a [u8],
    /// Addresses of it that are not in `bytes`, whatever it holds there: these pages were not in memory.
    pub missing: &'a [Range<u64>],
    /// Where the stack of the process's first thread began, where that is known: each program that a process executes has its
    /// own.
    pub start_stack: Option<u64>,
    /// Whether the stack may go on where `bytes` end: the copy is as long as it was allowed to be.
    pub may_go_on: bool,
}

/// A stack as addresses of code.
#[derive(Clone, Debug)]
pub struct UnwoundStack {
    /// Innermost first: from the system call to the function with which the thread began. Never empty.
    pub frames: Vec<CodeAddress>,
    /// Whether that is all.
    pub end: StackEnd,
    /// Names of code that the process makes at run time; also says which process it is.
    pub perf_map: Arc<PerfMapFile>,
    /// The files whose code the process maps, in its mount namespace: which runtime it is, even where no frame of that was
    /// reached.
    pub mapped: Arc<[PathBuf]>,
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
