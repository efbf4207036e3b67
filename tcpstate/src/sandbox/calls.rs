//! Frames of the programs that an interpreter runs, in their places among those of the interpreter itself.

use std::path::{Path, PathBuf};

use tcpstate_core::model::stack::{Frame, PYTHON, Source};
use tcpstate_wire::{Function, InterpretedFrame, ListEnd, StackEnd};

use super::{interpreter, taken::TakenStack};

/// The frames, by the calls of the interpreter's function that evaluates them.
pub(super) struct Calls<'a> {
    rest: &'a [InterpretedFrame],
    begun: bool,
}

impl<'a> Calls<'a> {
    /// Those of a stack on which that function is so many times, of a process that maps these files. None where they are not the
    /// stack's: up to 3.11 a thread that runs a program in a subinterpreter is found at what the main one runs, if it is found.
    pub(super) fn of(stack: &'a TakenStack, evaluations: usize, mapped: &[PathBuf]) -> Self {
        let interpreted = &stack.interpreted;
        let calls = interpreted.frames.iter().filter(|frame| frame.is_entry).count();
        let is_whole = interpreted.end == ListEnd::Complete && stack.stack.end == StackEnd::Complete;
        // Greenlets have their frames in lists of their own, and one native stack.
        let is_another = is_whole && evaluations > calls && !mapped.iter().any(|path| is_greenlet(path));
        Self { rest: if is_another { &[] } else { &interpreted.frames }, begun: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Those that the next call evaluates.
    pub(super) fn push_next(&mut self, frames: &mut Vec<Frame>) {
        let call = self.rest.iter().position(|frame| frame.is_entry).map_or(self.rest.len(), |entry| entry + 1);
        let (these, rest) = self.rest.split_at(call);
        frames.extend(these.iter().map(frame));
        (self.rest, self.begun) = (rest, true);
    }

    /// Those of calls that are not on the stack: it was not followed as far, or that function has no name there.
    pub(super) fn push_rest(self, frames: &mut Vec<Frame>) {
        let of_interpreter = |frame: &Frame| frame.module.as_deref().is_some_and(interpreter::is_python);
        let nameless = if self.begun { None } else { frames.iter().position(of_interpreter) };
        let at = nameless.unwrap_or(frames.len());
        frames.splice(at..at, self.rest.iter().map(frame));
    }
}

/// The extension that switches between native stacks (`greenlet/_greenlet.*.so`).
fn is_greenlet(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"_greenlet."))
}

fn frame(interpreted: &InterpretedFrame) -> Frame {
    let InterpretedFrame { code, function, .. } = interpreted;
    Frame {
        function: function.as_ref().map(|function| function.name.clone()),
        source: function.as_ref().and_then(source),
        module: Some(Path::new(PYTHON).into()),
        offset: *code,
        inlined: false,
        runtime: false,
    }
}

/// Where a function is, as the model has it.
pub(super) fn source(function: &Function) -> Option<Source> {
    function.source.as_ref().map(|source| Source { file: source.file.clone(), line: source.line })
}

#[cfg(test)]
mod tests {
    use tcpstate_wire::{Backing, CodeAddress, Subject, UnwoundStack};

    use super::*;

    /// Native code called the interpreter three times.
    fn stack() -> TakenStack {
        let frame = |name: &str, is_entry| InterpretedFrame {
            code: 16,
            at: 0,
            function: Some(Function { name: name.to_owned(), source: None, inlined: false }),
            is_entry,
        };
        let first = CodeAddress { ip: 7, is_return: false, backing: Backing::Unknown };
        let native = UnwoundStack { frames: vec![first], end: StackEnd::Complete };
        let mut stack = TakenStack::of(Subject::numbered(7), native);
        stack.interpreted.frames = vec![frame("f", false), frame("g", true), frame("key", true), frame("main", true)];
        stack
    }

    fn native(name: &str) -> Frame {
        let module = Some(Path::new("/usr/bin/python3.11").into());
        Frame { function: Some(name.to_owned()), source: None, module, offset: 0, inlined: false, runtime: false }
    }

    /// The stack, with `calls` calls on it.
    fn merged(stack: &TakenStack, calls: usize, mapped: &[PathBuf]) -> Vec<String> {
        let mut merging = Calls::of(stack, calls, mapped);
        let mut frames = vec![native("recv")];
        for _ in 0..calls {
            merging.push_next(&mut frames);
            frames.push(native("eval"));
        }
        if calls == 0 {
            frames.push(native("?"));
        }
        merging.push_rest(&mut frames);
        assert!(
            frames.iter().all(|frame| frame.language().is_some()
                == frame.module.as_deref().is_some_and(|path| path == Path::new(PYTHON)))
        );
        frames.into_iter().filter_map(|frame| frame.function).collect()
    }

    #[test]
    fn they_come_before_the_function_that_evaluates_them() {
        assert_eq!(merged(&stack(), 3, &[]), ["recv", "f", "g", "eval", "key", "eval", "main", "eval"]);
        assert_eq!(merged(&stack(), 2, &[]), ["recv", "f", "g", "eval", "key", "eval", "main"], "it was cut off");
    }

    #[test]
    fn without_a_name_of_that_function_they_come_before_the_interpreter() {
        let mut stack = stack();
        stack.interpreted.frames.truncate(2);
        assert_eq!(merged(&stack, 0, &[]), ["f", "g", "recv", "?"]);
    }

    #[test]
    fn those_of_another_interpreter_are_left_out() {
        assert_eq!(merged(&stack(), 4, &[]), ["recv", "eval", "eval", "eval", "eval"]);
        let greenlet = [PathBuf::from("/x/greenlet/_greenlet.cpython-311-x86_64-linux-gnu.so")];
        assert_eq!(merged(&stack(), 4, &greenlet), ["recv", "f", "g", "eval", "key", "eval", "main", "eval", "eval"]);
        let mut cut = stack();
        cut.interpreted.end = ListEnd::TooDeep;
        assert_eq!(merged(&cut, 4, &[]).len(), 9);
    }
}
