//! Programs that run other programs, whose own functions are not in any file.

use std::path::{Path, PathBuf};

use tcpstate_broker::Vault;
use tcpstate_core::model::stack::Frame;
use tcpstate_wire::{Backing, CodeAddress, Interpreter as Found, MapState, StackEnd, Truncation};

use super::taken::TakenStack;

/// What runs functions that V8 has not compiled: one for all, unless each has a copy of its own
/// (`--interpreted-frames-native-stack`).
const NODE_INTERPRETER: &str = "Builtins_InterpreterEntryTrampoline";

/// A runtime that can write a perf map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interpreter {
    Node,
    Python,
    Java,
    Erlang,
}

/// What is known of the process of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// The files that were opened.
    pub(super) vault: &'a Vault,
    /// The files whose code the process maps.
    pub(super) mapped: &'a [PathBuf],
    /// Its perf map.
    pub(super) perf_map: &'a MapState,
    /// How frames are found of what its interpreter runs, where that was looked for.
    pub(super) found: Option<&'a Found>,
}

/// How to get the names of the interpreted functions, where a stack leads through an interpreter that does not say them.
///
/// `frames` are its names. `None` when there is no interpreter, or when the process writes a perf map already that says all.
pub(super) fn hint(stack: &TakenStack, frames: &[Frame], around: Around<'_>) -> Option<String> {
    if !stack.interpreted.frames.is_empty() {
        return None;
    }
    let interpreter = Interpreter::on(stack, around)?;
    if interpreter == Interpreter::Python {
        return Some(python(stack, around.found));
    }
    let lost = stack.stack.end == StackEnd::Truncated(Truncation::NoFramePointer);
    let pid = stack.subject.pid;
    match around.perf_map {
        // Names that it has from the process that forked it.
        MapState::None if frames.iter().any(|frame| frame.module.is_none() && frame.function.is_some()) => {
            interpreter.hint_beyond_map(lost, frames).map(str::to_owned)
        }
        MapState::None => Some(interpreter.hint(pid, lost)),
        MapState::Unfit(why) => Some(format!("{why}; {}", interpreter.hint(pid, lost))),
        MapState::There { .. } => interpreter.hint_beyond_map(lost, frames).map(str::to_owned),
    }
}

/// Whether a file runs programs of others, or comes with one that does: its own functions say little where theirs have names.
pub(super) fn is_interpreter(path: &Path) -> bool {
    // Python's standard library in C.
    let extension = path.parent().is_some_and(|directory| directory.ends_with("lib-dynload"));
    extension || Interpreter::of(path).is_some()
}

/// How to get the functions of Python that a stack has none of.
fn python(stack: &TakenStack, found: Option<&Found>) -> String {
    let pid = stack.subject.pid;
    match found {
        Some(Found::Unfit(why)) => format!("functions of Python are not shown: {why}"),
        _ if stack.asleep => format!("run `py-spy dump --pid {pid}` to see the functions of Python"),
        Some(Found::Walked { .. }) => {
            "this stack came before it was known where this Python keeps its frames; the next ones show its functions"
                .to_owned()
        }
        Some(Found::None) | None => {
            "functions of Python are not shown: it is not known where this one keeps its frames".to_owned()
        }
    }
}

/// Whether a function of `CPython` is the one that evaluates frames (`Python/ceval.c`), or a part of it that a compiler has moved away.
pub(super) fn evaluates(function: &str) -> bool {
    function == "_PyEval_EvalFrameDefault"
}

/// Whether a function is the one that `CPython` makes for each of the program's, so that a perf map can name it (`-X perf`,
/// `Python/perf_trampoline.c`, 3.12).
pub(super) fn leads(function: &str) -> bool {
    function.starts_with("py::")
}

/// Whether a file is `CPython`, by its name.
pub(super) fn is_python(path: &Path) -> bool {
    Interpreter::of(path) == Some(Interpreter::Python)
}

impl Interpreter {
    /// The one that a stack leads through. Of a stack with code made at run time that does not get as far as the runtime
    /// itself, the one that the process maps.
    fn on(stack: &TakenStack, around: Around<'_>) -> Option<Self> {
        let frames = &stack.stack.frames;
        let of_frame = |frame: &CodeAddress| match frame.backing {
            Backing::Module { module, .. } | Backing::Unreadable { module, .. } => {
                Self::of(&around.vault.get(module)?.path)
            }
            Backing::Jit | Backing::Unknown => None,
        };
        frames.iter().find_map(of_frame).or_else(|| {
            let has_jit = frames.iter().any(|frame| frame.backing == Backing::Jit);
            if has_jit { around.mapped.iter().find_map(|path| Self::of(path)) } else { None }
        })
    }

    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with("libjvm.so") {
            return Some(Self::Java);
        }
        if name == "beam.smp" {
            return Some(Self::Erlang);
        }
        if name == "node" || name == "nodejs" || name.starts_with("libnode.so") {
            return Some(Self::Node);
        }
        let version = name.trim_start_matches("lib").strip_prefix("python")?;
        let is_3 = |minor: &str| minor.starts_with(|first: char| first.is_ascii_digit());
        let known = matches!(version, "" | "3") || version.strip_prefix("3.").is_some_and(is_3);
        known.then_some(Self::Python)
    }

    /// What to add when it writes a perf map already.
    fn hint_beyond_map(self, lost: bool, frames: &[Frame]) -> Option<&'static str> {
        let mut names = frames.iter().filter_map(|frame| frame.function.as_deref());
        match self {
            Self::Java if lost => Some("start java with `-XX:+PreserveFramePointer` to see the callers"),
            Self::Node if names.any(|name| name == NODE_INTERPRETER) => Some(
                "start node with `--interpreted-frames-native-stack`, too, to see JavaScript functions not yet compiled",
            ),
            _ => None,
        }
    }

    /// How to start it. `lost`: its code hides its callers.
    fn hint(self, pid: u32, lost: bool) -> String {
        match self {
            Self::Python | Self::Node => {
                "start node with `--perf-basic-prof --interpreted-frames-native-stack` to see JavaScript functions"
                    .to_owned()
            }
            Self::Java if lost => format!(
                "start java with `-XX:+PreserveFramePointer` and run `jcmd {pid} Compiler.perfmap` to see Java methods"
            ),
            Self::Java => format!("run `jcmd {pid} Compiler.perfmap` to see Java methods"),
            Self::Erlang => "start erl with `+JPperf true` to see Erlang functions".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_wire::{Subject, UnwoundStack};

    use super::*;

    #[test]
    fn interpreters_by_their_file() {
        for (path, expected) in [
            ("/usr/bin/node", Some(Interpreter::Node)),
            ("/usr/lib/x86_64-linux-gnu/libnode.so.108", Some(Interpreter::Node)),
            ("/usr/bin/python3.11", Some(Interpreter::Python)),
            ("/usr/lib/libpython3.13.so.1.0", Some(Interpreter::Python)),
            ("/opt/bin/python3", Some(Interpreter::Python)),
            ("/usr/bin/python2.7", None),
            ("/usr/lib/jvm/lib/server/libjvm.so", Some(Interpreter::Java)),
            ("/usr/lib/erlang/erts-13.1.5/bin/beam.smp", Some(Interpreter::Erlang)),
            ("/usr/bin/nodemon", None),
            ("[vdso]", None),
            ("/", None),
        ] {
            assert_eq!(Interpreter::of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn what_comes_with_an_interpreter() {
        assert!(is_interpreter(Path::new("/usr/lib/python3.12/lib-dynload/_socket.cpython-312-x86_64-linux-gnu.so")));
        assert!(is_interpreter(Path::new("/usr/bin/node")));
        assert!(!is_interpreter(Path::new("/usr/lib/python3/dist-packages/app.cpython-312-x86_64-linux-gnu.so")));
    }

    #[test]
    fn hints_name_the_remedy() {
        assert!(Interpreter::Java.hint(7, false).starts_with("run `jcmd 7 Compiler.perfmap`"));
        assert!(Interpreter::Java.hint(7, true).starts_with("start java with `-XX:+PreserveFramePointer`"));
    }

    #[test]
    fn a_perf_map_that_does_not_say_all() {
        let frames = [Frame {
            function: Some(NODE_INTERPRETER.to_owned()),
            source: None,
            module: None,
            offset: 4096,
            inlined: false,
            runtime: false,
        }];
        let hint = Interpreter::Node.hint_beyond_map(false, &frames).expect("a hint");
        assert!(hint.contains("`--interpreted-frames-native-stack`"), "{hint}");
        assert_eq!(Interpreter::Node.hint_beyond_map(false, &[]), None);
        assert_eq!(Interpreter::Java.hint_beyond_map(false, &frames), None);
        assert!(Interpreter::Java.hint_beyond_map(true, &[]).is_some());
    }

    /// What is said of a stack that ends in code made at run time, in a process that maps these files.
    fn hint_in(mapped: &[&str]) -> Option<String> {
        let frame = CodeAddress { ip: 4096, is_return: true, backing: Backing::Jit };
        let end = StackEnd::Truncated(Truncation::NoFramePointer);
        let stack = UnwoundStack { frames: vec![frame; 2], end };
        let stack = TakenStack::of(Subject::numbered(7), stack);
        let mapped: Vec<PathBuf> = mapped.iter().map(PathBuf::from).collect();
        hint(&stack, &[], Around { vault: &Vault::default(), mapped: &mapped, perf_map: &MapState::None, found: None })
    }

    #[test]
    fn a_stack_that_ends_before_the_runtime() {
        let hint = hint_in(&["/usr/bin/java", "/usr/lib/jvm/lib/server/libjvm.so"]).expect("a hint");
        assert!(hint.contains("PreserveFramePointer") && hint.contains("perfmap"), "{hint}");
        assert_eq!(hint_in(&["/usr/bin/postgres"]), None);
    }
}
