//! Frames of programs in Python, as the interpreter says of itself that they are. `TCPSTATE_PYTHONS` has paths of further interpreters,
//! with colons between.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tcpstate_wire::{FrameRecipe, FrameWords, InterpretedFrame, Interpreter, Language};

use crate::{
    names,
    reader::Reader,
    target::{MAX_STACK, Result, Target, build, capture, source, wait_for_call},
};

/// The interpreter that is always there.
const SYSTEM: &str = "/usr/bin/python3";
/// The threads of `programs/frames.py`.
const THREADS: usize = 6;
/// So much of a frame the kernel side takes, bytes.
const WINDOW: usize = 128;
/// More frames than any of these threads has.
const MOST_FRAMES: usize = 128;

/// What a thread says of itself.
#[derive(Debug)]
struct Truth {
    thread_pointer: u64,
    tid: u32,
    /// Name, file and line, innermost first.
    frames: Vec<(String, PathBuf, Option<u32>)>,
}

/// The interpreters to try.
fn pythons() -> Vec<PathBuf> {
    let more = env::var_os("TCPSTATE_PYTHONS").unwrap_or_default();
    [PathBuf::from(SYSTEM)]
        .into_iter()
        .chain(env::split_paths(&more).filter(|path| !path.as_os_str().is_empty()))
        .collect()
}

fn start(python: &Path) -> Result<(Target, Vec<Truth>)> {
    let mut command = Command::new(python);
    command.arg(source("frames.py")).env("PYTHONIOENCODING", "utf-8").env_remove("PYTHONPATH");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let target = Target { child };
    let mut lines = BufReader::new(output).lines();
    let mut truths = Vec::new();
    while truths.len() < THREADS {
        let line = lines.next().ok_or("the program has ended")??;
        let words: Vec<_> = line.split(' ').collect();
        let &["thread", thread_pointer, tid, count] = &words[..] else { return Err(format!("`{line}`").into()) };
        let mut frames = Vec::new();
        for _ in 0..count.parse()? {
            let line = lines.next().ok_or("the program has ended")??;
            let mut fields = line.split('\t');
            let mut field = || fields.next().ok_or(format!("`{line}`"));
            let (line, file, name) = (field()?, field()?.into(), field()?.to_owned());
            frames.push((name, file, Some(line.parse()?)));
        }
        truths.push(Truth { thread_pointer: thread_pointer.parse()?, tid: tid.parse()?, frames });
    }
    for truth in &truths {
        wait_for_call(target.pid(), truth.tid, libc::SYS_read)?;
    }
    Ok((target, truths))
}

/// The only interpreter in a process.
fn find(reader: &mut Reader, pid: u32) -> Result<FrameRecipe> {
    let mut recipes = Vec::new();
    for region in reader.regions(pid) {
        match reader.interpreter(pid, region.start) {
            Interpreter::None => {}
            Interpreter::Walked { language: Language::Python, recipe } => recipes.push(recipe),
            Interpreter::Unfit(why) => return Err(why.into()),
        }
    }
    match recipes[..] {
        [recipe] => Ok(recipe),
        _ => Err(format!("{recipes:?}").into()),
    }
}

/// What the kernel side would take of a thread.
fn walk(reader: &mut Reader, pid: u32, thread_pointer: u64, recipe: &FrameRecipe) -> Result<Vec<FrameWords>> {
    let word = |bytes: &[u8], at: u32| -> Result<u64> {
        Ok(u64::from_le_bytes(bytes.get(at as usize..at as usize + 8).ok_or("no memory")?.try_into()?))
    };
    let mut frame = thread_pointer.wrapping_add(recipe.start);
    for &hop in &recipe.hops[..recipe.hop_count as usize] {
        frame = word(&reader.memory(pid, frame + u64::from(hop), 8), 0)?;
    }
    let mut frames = Vec::new();
    while frame != 0 {
        let bytes = reader.memory(pid, frame, WINDOW);
        let [code, at, flags] = recipe.words;
        frames.push([word(&bytes, code)?, word(&bytes, at)?, word(&bytes, flags)?]);
        frame = word(&bytes, recipe.next)?;
        assert!(frames.len() < MOST_FRAMES);
    }
    Ok(frames)
}

fn told(frame: &InterpretedFrame) -> Option<(String, PathBuf, Option<u32>)> {
    let function = frame.function.as_ref()?;
    let source = function.source.as_ref()?;
    Some((function.name.clone(), source.file.clone(), source.line))
}

/// How often native code called the interpreter, by the native stack of the thread.
fn native_calls(reader: &mut Reader, pid: u32, tid: u32) -> Result<usize> {
    let stack = reader.unwind(&capture(pid, tid, MAX_STACK)?.copy());
    let frames = reader.name(pid, &stack);
    Ok(names(&frames).iter().filter(|name| *name == "_PyEval_EvalFrameDefault").count())
}

#[test]
fn frames_of_python() -> Result {
    for python in pythons() {
        let in_python = |error| format!("{}: {error}", python.display());
        let (target, truths) = start(&python).map_err(in_python)?;
        let mut reader = Reader::default();
        let recipe = find(&mut reader, target.pid()).map_err(in_python)?;
        for truth in truths {
            let words = walk(&mut reader, target.pid(), truth.thread_pointer, &recipe).map_err(in_python)?;
            for _ in 0..2 {
                let frames = reader.interpreted(target.pid(), words.clone());
                let named: Vec<_> = frames.iter().map(|frame| told(frame).expect("a function")).collect();
                assert_eq!(named, truth.frames, "{}", python.display());
                let entries = frames.iter().filter(|frame| frame.is_entry).count();
                let calls = native_calls(&mut reader, target.pid(), truth.tid)?;
                // Some builds tell nobody where that function is.
                assert!(
                    entries == calls || calls == 0 && python != Path::new(SYSTEM),
                    "{}: {calls} calls, {frames:#?}",
                    python.display()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn names_end_with_the_process() -> Result {
    let (mut target, truths) = start(Path::new(SYSTEM))?;
    let mut reader = Reader::default();
    let recipe = find(&mut reader, target.pid())?;
    let words = walk(&mut reader, target.pid(), truths[0].thread_pointer, &recipe)?;
    target.end()?;
    let frames = reader.interpreted(target.pid(), words.clone());
    assert!(frames.len() <= words.len() && frames.iter().all(|frame| frame.function.is_none()), "{frames:#?}");
    Ok(())
}

#[test]
fn what_is_no_interpreter() -> Result {
    let target = Target::start(Path::new("/bin/cat"), &[""; 0])?;
    wait_for_call(target.pid(), target.pid(), libc::SYS_read)?;
    let mut reader = Reader::default();
    let error = find(&mut reader, target.pid()).expect_err("no interpreter");
    assert_eq!(error.to_string(), "[]");
    assert_eq!(reader.interpreter(target.pid(), 0), Interpreter::None);
    Ok(())
}

#[test]
fn what_says_that_it_is_one() -> Result {
    let program = build("liar", "liar.c", "gcc -rdynamic")?;
    // The byte is the minor version; without one it is none.
    for (version, expected) in [
        ("", "a CPython whose version is not known"),
        ("\u{b}", "CPython 3.11 whose type `code` is not what is known of it"),
        ("\u{c}", "CPython 3.12 whose type `code` is not what is known of it"),
        ("\u{d}", "CPython 3.13 without an offset that makes sense of itself"),
        ("\u{f}", "CPython 3.15 is not known"),
    ] {
        let arguments: Vec<_> = Some(version).filter(|version| !version.is_empty()).into_iter().collect();
        let target = Target::start(&program, &arguments)?;
        wait_for_call(target.pid(), target.pid(), libc::SYS_read)?;
        let error = find(&mut Reader::default(), target.pid()).expect_err("a lie");
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}
