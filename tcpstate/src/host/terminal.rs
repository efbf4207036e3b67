//! The terminal behind a stream.

use std::{env, io::IsTerminal, os::fd::AsFd};

/// Whether a stream is a terminal that understands colours and is to have them.
#[must_use]
pub fn shows_colors(stream: &impl IsTerminal) -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_capable(stream) && !unwanted
}

/// Whether a stream is a terminal that understands escape sequences: one that says nothing of itself is taken for one that does not,
/// as by terminfo.
#[must_use]
pub fn is_capable(stream: &impl IsTerminal) -> bool {
    let names_itself = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    stream.is_terminal() && names_itself
}

/// Columns of the terminal; `None` where there is none.
pub(crate) fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}
