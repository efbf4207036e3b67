//! What `/proc` says of a process: its mappings, its files, its numbers.
//!
//! A process may end or execute another program between any two reads; every function says so with an error of its own.

pub(crate) mod code;
pub mod descriptors;
pub(crate) mod epoll;
pub mod files;
pub mod maps;
pub(crate) mod perf_map;
pub mod program;
pub(crate) mod shared_page;
pub mod start;
pub mod stat;
pub mod thread;

use std::{io, path::PathBuf};

use rustix::io::Errno;

/// Why something of a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It has ended, or it is a kernel thread: it has no memory.
    #[error("process {0} has ended")]
    Gone(u32),
    /// Something else.
    #[error("failed to read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl ProcessError {
    pub(crate) fn new(pid: u32, path: impl Into<PathBuf>, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::SRCH | Errno::NOENT) => Self::Gone(pid),
            _ => Self::Read { path: path.into(), source },
        }
    }
}
