//! Stacks. Paths are bytes: the kernel and compilers promise no encoding.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tcpstate_core::model::stack::{Frame, Source, Stack};

use super::many::Many;

/// Innermost frame first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StackV1 {
    frames: Many<FrameV1>,
    kernel: Many<String>,
    truncated: Option<String>,
    hint: Option<String>,
}

impl StackV1 {
    /// How many frames it has.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct FrameV1 {
    function: Option<String>,
    /// File and line.
    source: Option<(Vec<u8>, Option<u32>)>,
    module: Option<Vec<u8>>,
    offset: u64,
    inlined: bool,
    runtime: bool,
}

impl From<&Stack> for StackV1 {
    fn from(stack: &Stack) -> Self {
        Self {
            frames: stack.frames.iter().map(Into::into).collect(),
            kernel: stack.kernel.clone().into(),
            truncated: stack.truncated.clone(),
            hint: stack.hint.clone(),
        }
    }
}

impl From<StackV1> for Stack {
    fn from(StackV1 { frames, kernel, truncated, hint }: StackV1) -> Self {
        Self {
            frames: frames.into_iter().map(Into::into).collect(),
            kernel: kernel.into(),
            truncated,
            hint,
            process: None,
        }
    }
}

impl From<&Frame> for FrameV1 {
    fn from(frame: &Frame) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        Self {
            function: frame.function.clone(),
            source: frame.source.as_ref().map(|source| (bytes(&source.file), source.line)),
            module: frame.module.as_deref().map(bytes),
            offset: frame.offset,
            inlined: frame.inlined,
            runtime: frame.runtime,
        }
    }
}

impl From<FrameV1> for Frame {
    fn from(FrameV1 { function, source, module, offset, inlined, runtime }: FrameV1) -> Self {
        Self {
            function,
            source: source.map(|(file, line)| Source { file: PathBuf::from(OsString::from_vec(file)), line }),
            module: module.map(|module| Path::new(OsStr::from_bytes(&module)).into()),
            offset,
            inlined,
            runtime,
        }
    }
}
