//! Compares a stack of a report with what is known of it.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{
    super::{
        compile,
        expected::{self, plain_name},
    },
    report::Stack,
};

/// An error unless the functions are on the stack in their order, and the line is that of the innermost.
pub(crate) fn check(stack: &Stack, expected: &expected::Stack, names_functions: bool) -> Result<()> {
    let shown: Vec<&str> = stack.frames.iter().map(|frame| frame.function.as_deref().map_or("?", plain_name)).collect();
    let mut rest = shown.iter();
    for function in expected.functions {
        ensure!(rest.any(|name| name == function), "`{function}` is not on {shown:?}, {:?}", stack.truncated);
    }
    if names_functions && self::names_functions(stack) {
        let mut rest = stack.frames.iter().filter_map(|frame| frame.function.as_deref());
        for function in expected.interpreted {
            // `JS:~connect node:net:1`, `Session.get`.
            let found = rest.any(|name| name.split([' ', ':', '.', '~', '^', '*', '+']).any(|word| word == *function));
            ensure!(found, "`{function}` is not on {shown:?}, {:?}", stack.truncated);
        }
    }
    if let Some((file, text)) = expected.line {
        let source = fs::read_to_string(compile::source(file))?;
        let line = source.lines().position(|line| line.contains(text)).context("no such line")? + 1;
        let innermost = expected.functions.first().context("no function")?;
        let frame = stack.frames.iter().zip(&shown).find(|(_, name)| *name == innermost).map(|(frame, _)| frame);
        let frame = frame.with_context(|| format!("`{innermost}` is not on {shown:?}"))?;
        let at_file = frame.file.as_deref().is_some_and(|path| path.ends_with(file));
        ensure!(at_file && frame.line == Some(line), "not {file}:{line}: {frame:?}");
    }
    Ok(())
}

/// Whether a stack has functions of the interpreted language, if there is one. The first stacks of a Python that the filters do not name come
/// before it is known where that keeps its frames, and say so.
pub(crate) fn names_functions(stack: &Stack) -> bool {
    let came_too_early = "came before it was known where this Python keeps its frames";
    !stack.hint.as_deref().is_some_and(|hint| hint.contains(came_too_early))
}
