//! Standard error, for what is said beside the output: who does not read it, or has no room for it, must neither end us nor
//! keep us waiting.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    stdio,
};

use crate::report::escape::Message;

/// Bytes written at a time: a pipe that has room takes so many at once (`PIPE_BUF`).
const PART: usize = 4096;
/// How long a reader may rest while there is other work.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long it may while all that is left is to be read.
const LAST_PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Whether the reader has not read for that long: it is not waited for again until it does.
static STALLED: AtomicBool = AtomicBool::new(false);

/// Standard error without a buffer of its own. Writing never fails: what cannot be written is left out.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(bytes, PATIENCE);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error for messages, each of which is written at once: they may have names of others in them.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// Whether there are sequences for colours in them that are ours.
    pub colored: bool,
}

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let Self { colored } = *self;
        let line = format!("{}\n", Message { text: text.trim_end_matches('\n'), colored });
        put(line.as_bytes(), PATIENCE);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says why the program fails.
pub fn complain(error: &anyhow::Error) {
    let _ = Messages { colored: false }.write(format!("error: {error:#}").as_bytes());
}

/// Writes what the program was run for, when nothing else is left to be done.
pub(crate) fn write_last(bytes: &[u8]) {
    put(bytes, LAST_PATIENCE);
}

fn put(mut bytes: &[u8], patience: Timespec) {
    while !bytes.is_empty() && has_room(patience) {
        match rustix::io::write(stdio::stderr(), &bytes[..bytes.len().min(PART)]) {
            Ok(written) => bytes = &bytes[written..],
            // Another one has taken the room.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
}

fn has_room(patience: Timespec) -> bool {
    let stderr = stdio::stderr();
    let patience = if STALLED.load(Ordering::Relaxed) { NONE } else { patience };
    let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
    // What cannot be waited for can be tried.
    let has_room = !matches!(poll(&mut room, Some(&patience)), Ok(0));
    STALLED.store(!has_room, Ordering::Relaxed);
    has_room
}
