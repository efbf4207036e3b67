//! Stacks: as bytes, and as addresses.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tcpstate_common::leak::Registers;

/// The stack of a thread: registers and bytes. All of it was chosen by the program whose thread it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackCopy {
    /// Registers of the thread in user space, where the stack begins.
    #[serde(with = "registers")]
    pub registers: Registers,
    /// Memory from `registers.sp` upwards.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Addresses of it that are not in `bytes`, whatever these hold there: the pages were not in memory.
    pub missing: Vec<Range<u64>>,
    /// Whether the stack may go on where `bytes` end: the copy is as long as it was allowed to be.
    pub may_go_on: bool,
}

/// A module's number: the tracer gives one to every file with code, whichever process maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleId(pub u32);

/// A stack as addresses of code, each with what it belongs to: enough to name it, also when the process has ended since, and to tell it
/// from other stacks of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwoundStack {
    /// Innermost first: from the system call to the function with which the thread began. Never empty.
    pub frames: Vec<CodeAddress>,
    /// Whether that is all.
    pub end: StackEnd,
}

/// An address of code, and what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodeAddress {
    /// The address in the process: of the instruction, or of the one after the call.
    pub ip: u64,
    /// Whether it is of the one after a call. The call itself, which names function and line, ends one byte before.
    pub is_return: bool,
    /// What the instruction or the call belongs to.
    pub backing: Backing,
}

/// What an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backing {
    /// A file that was read.
    Module {
        /// The file.
        module: ModuleId,
        /// The address as the file counts them; of a call, the last byte of it.
        address: u64,
    },
    /// A file that could not be read; see [`Unreadable`].
    Unreadable {
        /// The file.
        module: ModuleId,
        /// Offset in the file; of a call, the last byte of it.
        offset: u64,
    },
    /// Code that was made at run time.
    Jit,
    /// Nothing that is known.
    Unknown,
}

/// A file with code that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The file.
    pub module: ModuleId,
    /// Why not.
    pub why: String,
}

/// How a stack ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StackEnd {
    /// Where the thread or the program began.
    Complete,
    /// Before that.
    Truncated(Truncation),
}

/// Why a stack could not be followed to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Truncation {
    /// The copy of the stack is too short; with its length in bytes.
    CopyEnded(u64),
    /// A frame would lie where the thread has no stack.
    OffStack,
    /// A frame lies in a page of the stack that was not in memory.
    NotInMemory,
    /// This file has neither unwind info for the place nor a frame pointer.
    NoUnwindInfo(ModuleId),
    /// This file could not be read, so that nobody knows of unwind info, and no frame pointer leads on.
    Unreadable(ModuleId),
    /// Code made at run time does not keep the frame pointer.
    NoFramePointer,
    /// The unwind info of this file is malformed, or needs registers that were not captured.
    UnusableUnwindInfo(ModuleId),
    /// The frames below belong to code that a signal interrupted.
    Signal,
    /// No code is mapped at this address, where a caller should be.
    NotCode(u64),
    /// The same, where not all of the mappings are known: there are too many.
    TooManyMappings,
    /// More frames than anybody reads; with how many are shown.
    TooDeep(u64),
    /// The thread has no registers of user space: it belongs to the kernel.
    NoRegisters,
    /// The process ended before its mappings were read.
    ProcessGone,
    /// The process executed another program before its mappings were read.
    ProgramGone,
    /// Its mappings could not be read; with why.
    NoMappings(String),
    /// It was given up; with why.
    GivenUp(String),
}

/// Registers as they go over the wire.
mod registers {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use tcpstate_common::leak::Registers;

    pub(super) fn serialize<S: Serializer>(registers: &Registers, serializer: S) -> Result<S::Ok, S::Error> {
        let Registers { ip, sp, bp } = *registers;
        [ip, sp, bp].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Registers, D::Error> {
        let [ip, sp, bp] = <[u64; 3]>::deserialize(deserializer)?;
        Ok(Registers { ip, sp, bp })
    }
}
