//! From addresses of code to functions and lines: a stack gets its names.
//!
//! Reads the files that the unwinder holds open, so it needs neither their paths nor a living process. Slow for the first
//! address of a file: this has no place on the way of events.

mod files;
mod function;
mod go;
mod interpreter;
mod kernel;
mod name;
mod perf_map;

use std::{path::Path, sync::Arc};

use tcpstate_core::model::stack::{Frame, Stack};

use crate::unwind::{Backing, CodeAddress, StackEnd, UnwoundStack};
use files::SymbolFiles;
use function::Function;
use interpreter::{hint, is_interpreter};
use kernel::KernelSymbols;
use perf_map::{PerfMap, PerfMaps};

/// Finds names, and remembers them. It stays on the thread that made it: what it parses is not shared.
#[derive(Debug, Default)]
pub struct Namer {
    files: SymbolFiles,
    perf_maps: PerfMaps,
    kernel: KernelSymbols,
}

impl Namer {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives back what was read of files, mostly debug info. The names that were found stay.
    pub fn close_files(&mut self) {
        self.files.close();
    }

    /// Names a stack. Never fails: of an address without a name it is shown where it is.
    pub fn name(&mut self, stack: &UnwoundStack) -> Stack {
        let (mut frames, has_nameless_jit) = self.frames(stack);
        let hint = hint(stack, &frames);
        // An interpreter's own functions say little where those that it runs have names.
        if frames.iter().any(|frame| frame.module.is_none() && frame.function.is_some()) {
            for frame in &mut frames {
                frame.runtime = frame.module.as_deref().is_some_and(is_interpreter);
            }
        }
        Stack {
            frames,
            kernel: self.kernel.names(&stack.kernel, stack.asleep),
            truncated: truncated(stack),
            hint,
            // Not where nothing is known of the code: of hundreds of short-lived processes that would be as many groups.
            process: has_nameless_jit.then(|| stack.pid()),
        }
    }

    /// The frames, and whether code made at run time is among them that has no name.
    fn frames(&mut self, stack: &UnwoundStack) -> (Vec<Frame>, bool) {
        let has_jit = stack.frames.iter().any(|address| address.backing == Backing::Jit);
        let perf_map = if has_jit { self.perf_maps.get(&stack.perf_map) } else { None };
        let mut frames = Vec::with_capacity(stack.frames.len());
        let mut has_nameless_jit = false;
        for address in &stack.frames {
            let named = named(address, &mut self.files, perf_map);
            has_nameless_jit |= address.backing == Backing::Jit && named.functions.is_empty();
            named.push_to(&mut frames);
        }
        (frames, has_nameless_jit)
    }
}

/// What is known of an address.
struct NamedAddress {
    /// `None` for code that is in no file.
    module: Option<Arc<Path>>,
    /// The address as the file counts it, or the offset in a file that could not be read; without a file the address itself.
    offset: u64,
    /// Innermost first: functions that were inlined there, then the one whose code it is. Empty when no name is known.
    functions: Arc<[Function]>,
}

fn named(address: &CodeAddress, files: &mut SymbolFiles, perf_map: Option<&PerfMap>) -> NamedAddress {
    let behind_call = u64::from(address.is_return);
    match &address.backing {
        Backing::Module { module, address: at } => NamedAddress {
            module: Some(Arc::clone(module.path())),
            offset: at.wrapping_add(behind_call),
            functions: files.functions(module, *at),
        },
        Backing::Unreadable { path, offset, .. } => NamedAddress {
            module: Some(Arc::clone(path)),
            offset: offset.wrapping_add(behind_call),
            functions: [].into(),
        },
        Backing::Jit => {
            let name = perf_map.and_then(|map| map.name(address.ip.saturating_sub(behind_call)));
            let functions = name.map(perf_map::function).into_iter().collect();
            NamedAddress { module: None, offset: address.ip, functions }
        }
        Backing::Unknown => NamedAddress { module: None, offset: address.ip, functions: [].into() },
    }
}

impl NamedAddress {
    /// Functions that were inlined are frames of their own.
    fn push_to(&self, frames: &mut Vec<Frame>) {
        let frame = |function: Option<&Function>| Frame {
            function: function.map(|function| function.name.clone()),
            source: function.and_then(|function| function.source.clone()),
            module: self.module.clone(),
            offset: self.offset,
            inlined: function.is_some_and(|function| function.inlined),
            runtime: false,
        };
        match &*self.functions {
            [] => frames.push(frame(None)),
            functions => frames.extend(functions.iter().map(|function| frame(Some(function)))),
        }
    }
}

/// Why it could not be followed to its end, if so.
fn truncated(stack: &UnwoundStack) -> Option<String> {
    match &stack.end {
        _ if stack.varying => Some("callers further out vary".to_owned()),
        StackEnd::Complete => None,
        StackEnd::Truncated(reason) => Some(reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{process::perf_map::PerfMapFile, unwind::Truncation};

    fn stack(frames: Vec<CodeAddress>) -> UnwoundStack {
        UnwoundStack {
            frames,
            end: StackEnd::Complete,
            varying: false,
            kernel: Vec::new(),
            asleep: false,
            perf_map: Arc::new(PerfMapFile::new(u32::MAX)),
            mapped: [].into(),
        }
    }

    #[test]
    fn without_a_name() {
        let in_file =
            |path: &str| Backing::Unreadable { path: Path::new(path).into(), offset: 0x10, why: "gone".into() };
        let files = ["/usr/lib/libc.so.6", "[vdso]", "/"].map(in_file);
        let address = |backing| CodeAddress { ip: 0x7f00_0010, is_return: false, backing };
        let frames = files.into_iter().chain([Backing::Unknown]).map(address).collect();
        let named = Namer::new().name(&stack(frames));
        let names: Vec<String> = named.frames.iter().map(Frame::name).collect();
        assert_eq!(names, ["libc.so.6+0x10", "[vdso]+0x10", "/+0x10", "[unknown] 0x7f000010"]);
        assert_eq!(named.process, None);
    }

    #[test]
    fn a_stack_that_varies_says_nothing_else() {
        let truncated = |end, varying| Namer::new().name(&UnwoundStack { end, varying, ..stack(Vec::new()) }).truncated;
        let off_stack = || StackEnd::Truncated(Truncation::OffStack);
        assert_eq!(truncated(off_stack(), false).as_deref(), Some("a frame lies outside of the stack"));
        for end in [off_stack(), StackEnd::Complete] {
            assert_eq!(truncated(end, true).as_deref(), Some("callers further out vary"));
        }
        assert_eq!(truncated(StackEnd::Complete, false), None);
    }
}
