//! Programs that run other programs, whose own functions are not in any file.

use std::path::Path;

use tcpstate_core::model::stack::Frame;

use crate::{
    process::perf_map::PerfMapError,
    unwind::{Backing, CodeAddress, StackEnd, Truncation, UnwoundStack},
};

/// What runs functions that V8 has not compiled: one for all, unless each has a copy of its own
/// (`--interpreted-frames-native-stack`).
const NODE_INTERPRETER: &str = "Builtins_InterpreterEntryTrampoline";

/// A runtime that can write a perf map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interpreter {
    Node,
    /// With the 12 of 3.12, where the file's name says so.
    Python(Option<u32>),
    Java,
    Erlang,
}

/// How to get the names of the interpreted functions, where a stack leads through an interpreter that does not say them.
///
/// `frames` are its names. `None` when there is no interpreter, or when the process writes a perf map already that says all.
pub(super) fn hint(stack: &UnwoundStack, frames: &[Frame]) -> Option<String> {
    let interpreter = Interpreter::on(stack)?;
    let lost = stack.end == StackEnd::Truncated(Truncation::NoFramePointer);
    let pid = stack.perf_map.pid();
    match stack.perf_map.open() {
        Err(PerfMapError::None) => Some(interpreter.hint(pid, lost)),
        Err(PerfMapError::Unfit(why)) => Some(format!("{why}; {}", interpreter.hint(pid, lost))),
        Ok(_) => interpreter.hint_beyond_map(lost, frames).map(str::to_owned),
    }
}

/// Whether a file runs programs of others, or comes with one that does: its own functions say little where theirs have names.
pub(super) fn is_interpreter(path: &Path) -> bool {
    // Python's standard library in C.
    let extension = path.parent().is_some_and(|directory| directory.ends_with("lib-dynload"));
    extension || Interpreter::of(path).is_some()
}

impl Interpreter {
    /// The one that a stack leads through. Of a stack with code made at run time that does not get as far as the runtime
    /// itself, the one that the process maps.
    fn on(stack: &UnwoundStack) -> Option<Self> {
        let of_frame = |frame: &CodeAddress| match &frame.backing {
            Backing::Module { module, .. } => Self::of(module.path()),
            Backing::Unreadable { path, .. } => Self::of(path),
            Backing::Jit | Backing::Unknown => None,
        };
        stack.frames.iter().find_map(of_frame).or_else(|| {
            let has_jit = stack.frames.iter().any(|frame| frame.backing == Backing::Jit);
            if has_jit { stack.mapped.iter().find_map(|path| Self::of(path)) } else { None }
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
        if version.is_empty() || version == "3" {
            return Some(Self::Python(None));
        }
        let minor: String = version.strip_prefix("3.")?.chars().take_while(char::is_ascii_digit).collect();
        minor.parse().ok().map(|minor| Self::Python(Some(minor)))
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
            Self::Node => {
                "start node with `--perf-basic-prof --interpreted-frames-native-stack` to see JavaScript functions"
                    .to_owned()
            }
            Self::Python(Some(minor @ ..12)) => {
                format!(
                    "Python 3.{minor} cannot name its functions; 3.12 can, started with `-X perf` or `PYTHONPERFSUPPORT=1`"
                )
            }
            Self::Python(_) => {
                "start Python 3.12 or later with `-X perf` or `PYTHONPERFSUPPORT=1` to see its functions".to_owned()
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
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::process::perf_map::PerfMapFile;

    #[test]
    fn interpreters_by_their_file() {
        for (path, expected) in [
            ("/usr/bin/node", Some(Interpreter::Node)),
            ("/usr/lib/x86_64-linux-gnu/libnode.so.108", Some(Interpreter::Node)),
            ("/usr/bin/python3.11", Some(Interpreter::Python(Some(11)))),
            ("/usr/lib/libpython3.13.so.1.0", Some(Interpreter::Python(Some(13)))),
            ("/opt/bin/python3", Some(Interpreter::Python(None))),
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
        assert!(Interpreter::Python(Some(11)).hint(7, false).contains("3.11 cannot"));
        assert!(Interpreter::Python(Some(12)).hint(7, false).starts_with("start Python"));
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

    /// A stack of two frames in a process that maps Java.
    fn truncated_in(backing: Backing) -> UnwoundStack {
        let frames =
            [Backing::Unreadable { path: Path::new("/lib/libc.so.6").into(), offset: 0, why: "gone".into() }, backing];
        let address = |backing| CodeAddress { ip: 4096, is_return: true, backing };
        UnwoundStack {
            frames: frames.map(address).into(),
            end: StackEnd::Truncated(Truncation::NoFramePointer),
            varying: false,
            kernel: Vec::new(),
            asleep: false,
            perf_map: Arc::new(PerfMapFile::new(u32::MAX)),
            mapped: ["/usr/bin/java", "/usr/lib/jvm/lib/server/libjvm.so"].map(PathBuf::from).into(),
        }
    }

    #[test]
    fn a_stack_that_ends_before_the_runtime() {
        let hint = hint(&truncated_in(Backing::Jit), &[]).expect("a hint");
        assert!(hint.contains("PreserveFramePointer") && hint.contains("perfmap"), "{hint}");
    }

    #[test]
    fn a_program_with_a_runtime_in_it_has_stacks_of_its_own() {
        let native = Backing::Unreadable { path: Path::new("/usr/bin/postgres").into(), offset: 0, why: "gone".into() };
        assert_eq!(hint(&truncated_in(native), &[]), None);
    }
}
