//! What the tracer wants of the worker.

use serde::{Deserialize, Serialize};

use crate::{
    function::Function,
    interpreted::{FrameWords, InterpretedFrame, Interpreter, ListEnd},
    stack::{ModuleId, StackCopy, Unreadable, UnwoundStack},
};

/// What the worker is to do. One at a time; it is about one process or one module, so that it is known what takes long or kills it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Follow a stack of a process.
    Unwind {
        /// The process's number: what is known of it is remembered by that.
        pid: u32,
        /// Where the stack of the process's first thread began, where that is known: each program that a process executes has its
        /// own.
        start_stack: Option<u64>,
        /// The stack.
        copy: StackCopy,
    },
    /// Name addresses of a module.
    Name {
        /// The module.
        module: ModuleId,
        /// Addresses as the file counts them.
        addresses: Vec<u64>,
    },
    /// Name code that a process made at run time, by its perf map, and those of the processes that forked it.
    NameJit {
        /// Addresses in the process.
        addresses: Vec<u64>,
    },
    /// Find out how the frames of programs are found that this module interprets, if it does, in a process that lives.
    FindInterpreter {
        /// The process's number.
        pid: u32,
        /// Where the stack of the process's first thread began, where that is known.
        start_stack: Option<u64>,
        /// The first address of the region that the module is mapped at.
        region: u64,
    },
    /// Name frames of an interpreter that was found in a process.
    NameInterpreted {
        /// The process's number.
        pid: u32,
        /// Where the stack of the process's first thread began, where that is known.
        start_stack: Option<u64>,
        /// The first address of the region that its interpreter is mapped at: to whoever has forgotten that.
        region: u64,
        /// The frames, innermost first.
        frames: Vec<FrameWords>,
    },
    /// Find and name the frames of a thread that sleeps, in a process in which an interpreter was found.
    WalkInterpreted {
        /// The process's number.
        pid: u32,
        /// Where the stack of the process's first thread began, where that is known.
        start_stack: Option<u64>,
        /// The first address of the region that its interpreter is mapped at.
        region: u64,
        /// The thread pointer.
        thread_pointer: u64,
    },
    /// Give back what was read of files; nobody has asked for names in a while.
    CloseFiles,
}

/// What the worker says to the tracer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerAnswer {
    /// Before it can go on with its task.
    Needs(crate::need::Need),
    /// The stack, and what of the files on the way could not be read.
    Unwound {
        /// The stack.
        stack: UnwoundStack,
        /// Files that could not be read.
        unreadable: Vec<Unreadable>,
    },
    /// The names of a module's addresses.
    Named {
        /// Of each address: the functions that were inlined there, innermost first, then the one whose code it is; none where no name is
        /// known.
        functions: Vec<Vec<Function>>,
        /// Whether all of the debug info was read that this takes: else it is too much.
        is_whole: bool,
    },
    /// Of each address: its function.
    NamedJit {
        /// In the order of the addresses.
        functions: Vec<Option<Function>>,
    },
    /// What the module is.
    Interpreter(Interpreter),
    /// The frames, innermost first. Those that are the interpreter's own are left out.
    NamedInterpreted(Vec<InterpretedFrame>),
    /// The same of a thread that sleeps, and how they end.
    WalkedInterpreted(Vec<InterpretedFrame>, ListEnd),
    /// It is done.
    Closed,
}
