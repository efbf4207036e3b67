//! Stacks of real programs, from captured bytes to names. Needs gcc, g++ and rustc, but no privileges: ptrace of own children.

mod lifetime;
mod names;
mod robust;
mod target;
mod unwinding;

use std::{
    thread,
    time::{Duration, Instant},
};

use target::{Capture, Result, Target};
use tcpstate_core::model::stack::Frame;
use tcpstate_stacks::{Namer, StackEnd, Unwinder, UnwoundStack};

/// The names of a stack, innermost first; inlined functions too.
fn names(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(Frame::name).collect()
}

fn resolve(capture: &Capture) -> (UnwoundStack, Vec<Frame>) {
    let stack = Unwinder::new().unwind(&capture.copy());
    let frames = Namer::new().name(&stack).frames;
    (stack, frames)
}

/// Captures the main thread in system call `number` again and again until `function` is on its stack.
fn resolve_until(
    target: &Target,
    number: libc::c_long,
    function: &str,
    unwinder: &mut Unwinder,
    namer: &mut Namer,
) -> Result<(UnwoundStack, Vec<Frame>)> {
    let start = Instant::now();
    loop {
        let stack = unwinder.unwind(&target.blocked(number)?.copy());
        let frames = namer.name(&stack).frames;
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
