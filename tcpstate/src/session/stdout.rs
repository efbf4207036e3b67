//! Standard output without a buffer of its own, whose errors name it: "No space left on device" could be any file's.

use std::io::{self, Write};

use rustix::stdio;
use thiserror::Error;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stdout;

#[derive(Debug, Error)]
#[error("failed to write to standard output")]
struct Unwritten(#[source] io::Error);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustix::io::write(stdio::stdout(), bytes).map_err(|error| named(error.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Of the same kind, since some kinds are no failure.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unwritten(error))
}
