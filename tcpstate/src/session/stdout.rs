//! Standard output without a buffer of its own, whose errors name it: "No space left on device" could be any file's.

use std::io::{self, Write};

use rustix::{
    fs::{FileType, fstat},
    stdio,
};
use thiserror::Error;

use crate::host::inherited::check_stdout;

/// Bytes written to a pipe or a terminal at a time.
const PART: usize = 16 << 10;
/// The same of a file. No reader can keep us there, and the kernel's part of it is less than half: pages of a file
/// come in folios as large as what is written at once (`__filemap_get_folio()`, `mm/filemap.c`).
const PART_OF_FILE: usize = 256 << 10;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stdout;

#[derive(Debug, Error)]
#[error("failed to write to standard output")]
struct Unwritten(#[source] io::Error);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check()?;
        rustix::io::write(stdio::stdout(), bytes).map_err(|error| named(error.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes sure that there is a standard output.
///
/// # Errors
///
/// When it was closed from the start.
pub(super) fn check() -> io::Result<()> {
    check_stdout().map_err(named)
}

/// Bytes to be written at a time.
pub(super) fn part() -> usize {
    let is_file = fstat(stdio::stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    if is_file { PART_OF_FILE } else { PART }
}

/// Of the same kind, since some kinds are no failure.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unwritten(error))
}
