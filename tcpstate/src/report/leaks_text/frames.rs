//! Stacks: the user's own functions one a line, what libraries did in between on one line together.

use std::{io, os::unix::ffi::OsStrExt};

use tcpstate_core::model::stack::{Frame, Stack};

use crate::report::{
    escape::Escaped,
    page::{Page, Paragraph},
    style::{DIM, PLAIN, WARNING},
    words::Count,
};

/// Writes a stack beside a label, innermost function of the user first; `intro` is the line before it, if any.
pub(super) fn write<W: io::Write>(
    page: &mut Page<'_, W>,
    label: &str,
    intro: Option<Paragraph>,
    stack: &Stack,
) -> io::Result<()> {
    let mut label = label;
    let mut next = |page: &mut Page<'_, W>, paragraph: &Paragraph| page.labelled(std::mem::take(&mut label), paragraph);
    if let Some(intro) = intro {
        next(page, &intro)?;
    }
    if !stack.kernel.is_empty() {
        let names: Vec<_> = stack.kernel.iter().map(|name| Escaped(name.as_bytes()).to_string()).collect();
        next(page, &Paragraph::new().styled(DIM, format_args!("{} (kernel)", names.join(", "))))?;
    }
    if stack.frames.is_empty() {
        next(page, &Paragraph::new().word(WARNING, "[no frames]"))?;
    }
    let mut rest = stack.frames.as_slice();
    // What the user's code called is named behind it.
    let inner = take_libraries(&mut rest);
    let mut called = (!inner.is_empty() && !rest.is_empty()).then(|| libraries(inner));
    if rest.is_empty() {
        for frame in inner {
            next(page, &line(frame))?;
        }
    }
    while let Some((frame, outer)) = rest.split_first() {
        // Recursion, once.
        let again = outer.iter().take_while(|next| *next == frame).count();
        rest = &outer[again..];
        let mut paragraph = line(frame);
        if again > 0 {
            paragraph = paragraph.item(DIM, format_args!("×{}", again + 1));
        }
        if let Some(called) = called.take() {
            paragraph = paragraph.item(DIM, format_args!("→ {called}"));
        }
        next(page, &paragraph)?;
        let between = take_libraries(&mut rest);
        // That one interpreted function called another through the interpreter goes without saying.
        if !between.iter().all(|frame| frame.runtime) {
            next(page, &Paragraph::new().styled(DIM, libraries(between)))?;
        }
    }
    if let Some(reason) = &stack.truncated {
        next(page, &Paragraph::new().word(WARNING, "[truncated]").text(Escaped(reason.as_bytes())))?;
    }
    if let Some(hint) = &stack.hint {
        next(page, &Paragraph::new().styled(DIM, format_args!("hint: {}", Escaped(hint.as_bytes()))))?;
    }
    Ok(())
}

/// The frames of libraries at the beginning.
fn take_libraries<'a>(frames: &mut &'a [Frame]) -> &'a [Frame] {
    let end = frames.iter().position(|frame| !frame.is_library()).unwrap_or(frames.len());
    let (libraries, rest) = frames.split_at(end);
    *frames = rest;
    libraries
}

fn line(frame: &Frame) -> Paragraph {
    let name = frame.name();
    let mut paragraph = Paragraph::new().word(PLAIN, Escaped(name.as_bytes()));
    match (&frame.source, frame.module_name().filter(|_| frame.function.is_some())) {
        (Some(source), _) => {
            let file = Escaped(source.file.as_os_str().as_bytes());
            paragraph = match source.line {
                Some(line) => paragraph.item(PLAIN, format_args!("{file}:{line}")),
                None => paragraph.item(PLAIN, file),
            };
        }
        (None, Some(module)) => {
            let module = Escaped(module.as_bytes());
            paragraph = paragraph.item(DIM, format_args!("{module}+{:#x}", frame.offset));
        }
        (None, None) => {}
    }
    if frame.inlined { paragraph.item(DIM, "[inlined]") } else { paragraph }
}

/// Functions of one library in a row that are all named; of more only the outermost and the innermost, which the user's own
/// functions call or are called by.
const FEW: usize = 4;

/// Functions of libraries on one line: `recv, __libc_recv (libc.so.6), 8 frames of python3.12`.
fn libraries(frames: &[Frame]) -> String {
    let mut text = String::new();
    let mut frames = frames;
    while let Some((frame, rest)) = frames.split_first() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let module = frame.module_name();
        if frame.runtime {
            let at_work = frames.iter().take_while(|next| next.runtime && next.module_name() == module).count();
            let module = Escaped(module.unwrap_or_default().as_bytes());
            text.push_str(&format!("{} of {module}", Count(at_work as u64, "frame")));
            frames = &frames[at_work..];
            continue;
        }
        let named = |frame: &Frame| Escaped(frame.name().as_bytes()).to_string();
        text.push_str(&named(frame));
        frames = rest;
        let others = rest.iter().take_while(|next| !next.runtime && next.module_name() == module).count();
        let mut last = frame;
        if others >= FEW {
            last = &rest[others - 1];
            frames = &rest[others..];
            text.push_str(&format!(", {} more, {}", others - 1, named(last)));
        }
        let last_of_module = frames.first().is_none_or(|next| next.module_name() != module);
        if let Some(module) = module.filter(|_| last_of_module && last.function.is_some()) {
            text.push_str(&format!(" ({})", Escaped(module.as_bytes())));
        }
    }
    text
}
