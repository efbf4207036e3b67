//! Stacks: the user's own functions one a line, what libraries did in between on one line together.

use std::{io, os::unix::ffi::OsStrExt};

use tcpstate_core::model::stack::{
    Frame, Stack,
    outline::{self, Called, Part},
};

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
    // What helps one stack helps all of its kind.
    let hint = stack.hint.as_ref().filter(|hint| page.is_new(hint));
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
    let mut called = None;
    let parts = outline::parts(&stack.frames);
    for (index, part) in parts.iter().enumerate() {
        match part {
            // What the user's code called is named behind it.
            Part::Libraries(calls) if index == 0 => called = Some(libraries(calls)),
            Part::Libraries(calls) => next(page, &Paragraph::new().styled(DIM, libraries(calls)))?,
            Part::Function { frame, times } => {
                let mut paragraph = line(frame);
                if *times > 1 {
                    paragraph = paragraph.item(DIM, format_args!("×{times}"));
                }
                if let Some(called) = called.take() {
                    paragraph = paragraph.item(DIM, format_args!("→ {called}"));
                }
                next(page, &paragraph)?;
            }
        }
    }
    if let Some(reason) = &stack.truncated {
        next(page, &Paragraph::new().word(WARNING, "[truncated]").text(Escaped(reason.as_bytes())))?;
    }
    if let Some(hint) = hint {
        next(page, &Paragraph::new().styled(DIM, format_args!("hint: {}", Escaped(hint.as_bytes()))))?;
    }
    Ok(())
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

/// Functions of libraries on one line: `recv, __libc_recv (libc.so.6), 8 frames of python3.12`.
fn libraries(calls: &[Called<'_>]) -> String {
    let mut text = String::new();
    for (index, call) in calls.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        match call {
            Called::Runtime { first, frames } => {
                let module = Escaped(first.module_name().unwrap_or_default().as_bytes());
                text.push_str(&format!("{} of {module}", Count(*frames as u64, "frame")));
            }
            Called::More(functions) => text.push_str(&format!("{functions} more")),
            Called::Function(frame) => {
                text.push_str(&Escaped(frame.name().as_bytes()).to_string());
                let module = frame.module_name();
                let goes_on = calls.get(index + 1).is_some_and(|next| match next {
                    Called::More(_) => true,
                    Called::Function(next) | Called::Runtime { first: next, .. } => next.module_name() == module,
                });
                if let Some(module) = module.filter(|_| !goes_on && frame.function.is_some()) {
                    text.push_str(&format!(" ({})", Escaped(module.as_bytes())));
                }
            }
        }
    }
    text
}
