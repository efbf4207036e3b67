//! What of a stack a reader is shown, and so can tell it from another by: the user's own functions one by one, what libraries did in
//! between in short.

use super::Frame;

/// Functions of one library in a row that are all named; of more only the outermost and the innermost, which the user's own
/// functions call or are called by.
const FEW: usize = 4;

/// A part of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A function that is shown by itself.
    Function {
        /// Where it is.
        frame: &'a Frame,
        /// How often it stands there in a row, because it called itself.
        times: usize,
    },
    /// What libraries did, on one line together.
    Libraries(Vec<Called<'a>>),
}

/// What libraries did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called<'a> {
    /// A function of one.
    Function(&'a Frame),
    /// So many other functions of the module of the one before it.
    More(usize),
    /// An interpreter at work for functions that have names of their own.
    Runtime {
        /// The innermost of its frames.
        first: &'a Frame,
        /// How many there are.
        frames: usize,
    },
}

/// The parts of a stack, innermost first. Where there is nothing but libraries, their functions are shown by themselves.
#[must_use]
pub fn parts(frames: &[Frame]) -> Vec<Part<'_>> {
    let all_libraries = frames.iter().all(Frame::is_library);
    let mut parts = Vec::new();
    let mut rest = frames;
    while let Some((frame, outer)) = rest.split_first() {
        if frame.is_library() && !all_libraries {
            let end = rest.iter().position(|frame| !frame.is_library()).unwrap_or(rest.len());
            let (libraries, after) = rest.split_at(end);
            rest = after;
            // That one interpreted function called another through the interpreter goes without saying.
            let goes_without_saying = !parts.is_empty() && libraries.iter().all(|frame| frame.runtime);
            if !goes_without_saying {
                parts.push(Part::Libraries(called(libraries)));
            }
            continue;
        }
        let again = outer.iter().take_while(|next| *next == frame).count();
        rest = &outer[again..];
        parts.push(Part::Function { frame, times: again + 1 });
    }
    parts
}

fn called(frames: &[Frame]) -> Vec<Called<'_>> {
    let mut calls = Vec::new();
    let mut frames = frames;
    while let Some((frame, rest)) = frames.split_first() {
        let module = frame.module_name();
        if frame.runtime {
            let at_work = frames.iter().take_while(|next| next.runtime && next.module_name() == module).count();
            calls.push(Called::Runtime { first: frame, frames: at_work });
            frames = &frames[at_work..];
            continue;
        }
        calls.push(Called::Function(frame));
        frames = rest;
        let others = rest.iter().take_while(|next| !next.runtime && next.module_name() == module).count();
        if others >= FEW {
            calls.extend([Called::More(others - 1), Called::Function(&rest[others - 1])]);
            frames = &rest[others..];
        }
    }
    calls
}
