//! Stacks as they are written. Paths are bytes: the kernel and compilers promise no encoding.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::stack::{Frame, Source, Stack};

/// A stack with names, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRecord {
    frames: Vec<FrameRecord>,
    kernel: Vec<String>,
    truncated: Option<String>,
    hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FrameRecord {
    function: Option<String>,
    /// File and line.
    source: Option<(Vec<u8>, Option<u32>)>,
    module: Option<Vec<u8>>,
    offset: u64,
    inlined: bool,
    runtime: bool,
}

impl From<&Stack> for StackRecord {
    fn from(stack: &Stack) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let frame = |frame: &Frame| FrameRecord {
            function: frame.function.clone(),
            source: frame.source.as_ref().map(|source| (bytes(&source.file), source.line)),
            module: frame.module.as_deref().map(bytes),
            offset: frame.offset,
            inlined: frame.inlined,
            runtime: frame.runtime,
        };
        Self {
            frames: stack.frames.iter().map(frame).collect(),
            kernel: stack.kernel.clone(),
            truncated: stack.truncated.clone(),
            hint: stack.hint.clone(),
        }
    }
}

impl From<&StackRecord> for Stack {
    fn from(record: &StackRecord) -> Self {
        let path = |bytes: &Vec<u8>| PathBuf::from(OsStr::from_bytes(bytes));
        let frame = |frame: &FrameRecord| Frame {
            function: frame.function.clone(),
            source: frame.source.as_ref().map(|(file, line)| Source { file: path(file), line: *line }),
            module: frame.module.as_ref().map(|module| path(module).into()),
            offset: frame.offset,
            inlined: frame.inlined,
            runtime: frame.runtime,
        };
        Self {
            frames: record.frames.iter().map(frame).collect(),
            kernel: record.kernel.clone(),
            truncated: record.truncated.clone(),
            hint: record.hint.clone(),
            process: None,
        }
    }
}
