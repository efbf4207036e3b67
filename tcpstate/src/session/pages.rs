//! Reports on standard output: one after another, or on a terminal each in place of the one before.

use std::io::{self, Write};

use crate::host::terminal::{columns, is_capable};

/// Cursor home, and everything from there on erased (ECMA-48 CUP and ED).
const REPAINT: &[u8] = b"\x1b[H\x1b[J";

/// Where the reports of a command go.
#[derive(Debug)]
pub(crate) struct Pages {
    repaint: bool,
    shown: bool,
}

impl Pages {
    /// `many` says that more than one report is to come.
    pub(crate) fn new(many: bool) -> Self {
        Self { repaint: many && is_capable(&io::stdout()), shown: false }
    }

    /// Begins a report.
    pub(crate) fn turn(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.repaint {
            out.write_all(REPAINT)?;
        } else if self.shown {
            out.write_all(b"\n")?;
        }
        self.shown = true;
        Ok(())
    }

    /// Columns of the terminal; `None` where there is none.
    pub(crate) fn width() -> Option<usize> {
        columns(&io::stdout())
    }
}
