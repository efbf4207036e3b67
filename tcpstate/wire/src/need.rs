//! What the worker needs, and what the broker supplies.

use serde::{Deserialize, Serialize};

use crate::stack::ModuleId;

/// What the worker needs of the process that its task is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// Where it has its code.
    Mappings,
    /// Whether it still has the memory that these mappings are of: it neither ended nor executed another program.
    IsCurrent {
        /// That of the mappings.
        memory: u64,
    },
    /// The file behind a region, by the region's first address.
    Mapped {
        /// First address of the region.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// Its memory: code, or a table of addresses.
    Memory {
        /// The first address.
        address: u64,
        /// Bytes, at most [`Need::MOST_MEMORY`].
        length: u32,
    },
    /// A module that it has closed, or that one before it had.
    Module(ModuleId),
    /// Debug info of a module in a file of its own.
    DebugFile {
        /// The module.
        module: ModuleId,
        /// Which one.
        wanted: DebugFileWanted,
    },
    /// A perf map: 0 stands for that of the process itself, 1 for that of the process that forked it, and so on.
    PerfMap {
        /// How many generations up.
        generation: u8,
    },
    /// Whether the process has a page in common with the one that forked it, since neither has written to it.
    IsShared {
        /// How many generations up.
        generation: u8,
        /// An address in the page.
        address: u64,
    },
}

impl Need {
    /// Most memory that is read at a time, bytes.
    pub const MOST_MEMORY: u32 = 64 * 1024;
    /// Most generations of processes whose perf maps are asked.
    pub const GENERATIONS: u8 = 3;
}

/// A file with debug info, as the file says that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DebugFileWanted {
    /// By build id, as distributions keep them.
    BuildId(#[serde(with = "serde_bytes")] Vec<u8>),
    /// By name (`.gnu_debuglink`): beside the file, or where distributions keep them.
    Link(#[serde(with = "serde_bytes")] Vec<u8>),
    /// What several files have in common (`.gnu_debugaltlink`, `.debug_sup`), by name and build id.
    Supplementary {
        /// The name: only below where distributions keep them.
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
        /// The build id.
        #[serde(with = "serde_bytes")]
        build_id: Vec<u8>,
    },
}

/// What the tracer asks the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Of which process.
    pub subject: Subject,
    /// Of a module: what its process calls it, for debug files beside it.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// What.
    pub asked: Asked,
}

/// What is asked of a process, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// What the worker needs, passed on.
    Need(Need),
    /// What the tracer asks for itself. There is no [`Need`] for it, so no worker can ask.
    Waker {
        /// Descriptors of sockets, at most [`Asked::MOST_SOCKETS`].
        sockets: Vec<u32>,
    },
}

impl Asked {
    /// Most sockets that are asked about at a time: with five bytes each, half of a message.
    pub const MOST_SOCKETS: usize = 400_000;
}

/// A process, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Its number.
    pub pid: u32,
    /// Where the stack of its first thread began, if that is known: each program that a process executes has its own.
    pub start_stack: Option<u64>,
    /// When it began, clock ticks since the start of the system, if that is known: its number may be another's later.
    pub began: Option<u64>,
}

impl Subject {
    /// The process that has this number, whichever it is.
    #[must_use]
    pub const fn numbered(pid: u32) -> Self {
        Self { pid, start_stack: None, began: None }
    }

    /// Whether both are one program of one process. A fork has the stack of its parent, but another number.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let has_begun = self.began.is_some() && self.began == other.began;
        let executes = self.start_stack.is_some() && self.start_stack == other.start_stack;
        self.may_be(other) && (executes || has_begun && self.start_stack.is_none() && other.start_stack.is_none())
    }

    /// Whether both may be one process and program, as far as is known.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        let agree = |one: Option<u64>, other: Option<u64>| one.is_none() || other.is_none() || one == other;
        self.pid == other.pid && agree(self.start_stack, other.start_stack) && agree(self.began, other.began)
    }
}

/// What the broker found. Files come beside it, in the order in which they are to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Supply {
    /// Where the process has its code.
    Mappings(Mappings),
    /// The process has ended, or it is a kernel thread.
    Gone,
    /// The process executes another program by now.
    Replaced,
    /// So it is, or not.
    Is(bool),
    /// The file of a module comes beside this.
    Module {
        /// What tells it from all others.
        file: FileVersion,
        /// Its number, which the tracer gives it.
        module: Option<ModuleId>,
    },
    /// Debug files that it may be come beside this, the likeliest first.
    DebugFiles,
    /// Memory; shorter where it ends sooner, empty where there is none.
    Memory(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A perf map, and what tells it from others.
    PerfMap(MapState),
    /// The epoll descriptor that watches most of the sockets for their end, level-triggered, if one does.
    Waker(Option<Waker>),
    /// It may not be had; with why, and the number of the module that this is about.
    Refused {
        /// The module.
        module: Option<ModuleId>,
        /// Why.
        why: String,
    },
}

/// An epoll descriptor that tells at once of sockets that have ended, as often as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waker {
    /// The descriptor.
    pub epoll: u32,
    /// How many of the sockets it watches so.
    pub sockets: u64,
}

/// What tells one version of one file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileVersion {
    /// Number of its device.
    pub device: u64,
    /// Number of its inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it was last written, seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
}

/// What there is of a perf map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapState {
    /// No such file, or no such process any more.
    None,
    /// There is a file, and this is why it is not believed.
    Unfit(String),
    /// It comes beside this.
    There {
        /// The process that writes it.
        pid: u32,
        /// When that began, clock ticks since the start of the system.
        began: Option<u64>,
    },
}

/// Where a process has its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mappings {
    /// Tells the memory that these are of from all other memory that the broker has looked into.
    pub memory: u64,
    /// Where the stack of the process's first thread began.
    pub start_stack: Option<u64>,
    /// When the process began, clock ticks since the start of the system.
    pub began: Option<u64>,
    /// By address.
    pub regions: Vec<Region>,
    /// Whether that is all: else there are more than anybody wants to read.
    pub complete: bool,
    /// Paths of files, in the mount namespace of the process. Not for the worker.
    pub paths: Vec<serde_bytes::ByteBuf>,
}

/// A mapping that may hold code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// Offset of `start` in the file, bytes.
    pub offset: u64,
    /// What is mapped.
    pub kind: RegionKind,
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionKind {
    /// A file.
    File {
        /// The inode's number, and its device's.
        inode: u64,
        /// Major and minor number of the file system's device.
        device: (u32, u32),
        /// Which of the paths.
        path: u32,
    },
    /// The kernel's code in user space.
    Vdso,
    /// Nothing: it was made at run time.
    Anonymous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_the_same() {
        let of = |pid, start_stack, began| Subject { pid, start_stack, began };
        let known = of(7, Some(16), Some(3));
        for (other, is, may_be) in [
            (known, true, true),
            (of(7, Some(16), None), true, true),
            (of(7, None, Some(3)), false, true),
            (of(7, None, None), false, true),
            (of(7, Some(16), Some(4)), false, false),
            (of(7, Some(32), Some(3)), false, false),
            (of(8, Some(16), Some(3)), false, false),
        ] {
            assert_eq!((known.is(&other), known.may_be(&other)), (is, may_be), "{other:?}");
            assert_eq!((other.is(&known), other.may_be(&known)), (is, may_be), "{other:?}");
        }
        let untold = of(7, None, Some(3));
        assert!(untold.is(&untold) && !untold.is(&of(7, None, Some(4))) && !untold.is(&Subject::numbered(7)));
    }
}
