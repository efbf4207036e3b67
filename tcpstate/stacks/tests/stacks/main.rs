//! Stacks of real programs, from captured bytes to names. Needs gcc, g++, rustc and python3, but no privileges: ptrace of own children.

mod interpreted;
mod lifetime;
mod names;
#[expect(dead_code, reason = "shared with the privileged tests")]
mod reader;
mod robust;
mod target;
mod unwinding;

use std::{
    thread,
    time::{Duration, Instant},
};

use reader::Reader;
use target::{Capture, Result, Target};
use tcpstate_core::model::stack::Frame;
use tcpstate_wire::{StackEnd, UnwoundStack};

/// The names of a stack, innermost first; inlined functions too.
fn names(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(Frame::name).collect()
}

fn resolve(capture: &Capture) -> (UnwoundStack, Vec<Frame>) {
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    let frames = reader.name(capture.pid, &stack);
    (stack, frames)
}

/// Captures the main thread in system call `number` again and again until `function` is on its stack.
fn resolve_until(
    target: &Target,
    number: libc::c_long,
    function: &str,
    reader: &mut Reader,
) -> Result<(UnwoundStack, Vec<Frame>)> {
    let start = Instant::now();
    loop {
        let stack = reader.unwind(&target.blocked(number)?.copy());
        let frames = reader.name(target.pid(), &stack);
        let names = names(&frames);
        if names.iter().any(|name| name == function) {
            return Ok((stack, frames));
        }
        if start.elapsed() > Duration::from_secs(20) {
            return Err(format!("no `{function}` in {names:#?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts that these functions are on the stack without any other between them.
#[track_caller]
fn assert_adjacent(frames: &[Frame], expected: &[&str]) {
    let names = names(frames);
    assert!(
        names.windows(expected.len()).any(|window| window == expected),
        "{expected:?} are not in a row in {names:#?}"
    );
}

#[track_caller]
fn assert_complete(stack: &UnwoundStack, frames: &[Frame]) {
    assert_eq!(stack.end, StackEnd::Complete, "{:#?}", names(frames));
}

/// File name and line of a function on the stack.
fn source_line<'a>(frames: &'a [Frame], function: &str) -> Option<(&'a str, u32)> {
    let frame = frames.iter().find(|frame| frame.function.as_deref() == Some(function))?;
    let source = frame.source.as_ref()?;
    Some((source.file.file_name()?.to_str()?, source.line?))
}
