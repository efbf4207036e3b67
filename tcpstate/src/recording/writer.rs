//! A recording on its way into files. Append-only: what is written is never changed, only a frame that a full disk cut off is
//! taken back.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    events,
    frame::{self, Kind},
    record,
};
use crate::model::event::Event;

/// Events in a block at most: fewer compress worse, more keep a reader from stopping early.
pub const BLOCK: usize = 65_536;

/// When to begin another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file, about: a file ends after the frame that reaches them.
    pub max_size: u64,
    /// Files that are kept, the current one included; `None` for all.
    pub max_files: Option<u32>,
}

/// An open recording.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    rotation: Option<Rotation>,
    /// Bytes of whole frames in the file.
    whole: u64,
    /// Bytes of whole frames in all files.
    written: u64,
    /// Files begun before this one.
    rotated: u32,
    events: Vec<Event>,
    frame: Vec<u8>,
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// When it exists and is not to be overwritten, or cannot be made.
    pub fn create(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> io::Result<Self> {
        if rotation.is_some() && !overwrite && numbered(path, 1).exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a rotated file `FILE.1` is there already"));
        }
        let file = open(path, overwrite)?;
        if rotation.is_some() && !file.metadata()?.is_file() {
            return Err(io::Error::other("only a regular file can be rotated: leave out `--max-size`"));
        }
        let mut writer = Self {
            path: path.to_owned(),
            file,
            rotation,
            whole: 0,
            written: 0,
            rotated: 0,
            events: Vec::new(),
            frame: Vec::new(),
        };
        writer.begin()?;
        Ok(writer)
    }

    /// Keeps an event until [`Writer::flush`]; returns whether a block is full.
    pub fn event(&mut self, event: Event) -> bool {
        self.events.push(event);
        self.events.len() >= BLOCK
    }

    /// Writes a record before the events that wait: one that they need.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn record_before(&mut self, kind: Kind, record: &impl Serialize) -> io::Result<()> {
        let payload = record::encode(record).map_err(io::Error::other)?;
        self.payload(kind, &payload)
    }

    /// The same of a record that is encoded already.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn payload(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.frame.clear();
        frame::write(&mut self.frame, kind, payload)?;
        self.put()
    }

    /// Writes frames that are whole already, all or none of them, before the events that wait.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn frames(&mut self, frames: &[u8]) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(frames);
        self.put()
    }

    /// Writes a block of events, before those that wait.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn events(&mut self, events: &[Event]) -> io::Result<()> {
        let payload = events::encode(events).map_err(io::Error::other)?;
        self.payload(Kind::Events, &payload)
    }

    /// Writes the events that wait.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.events);
        let written = self.events(&events);
        self.events = events;
        self.events.clear();
        written
    }

    /// Writes a record after the events that came before it.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn record(&mut self, kind: Kind, record: &impl Serialize) -> io::Result<()> {
        self.flush()?;
        self.record_before(kind, record)
    }

    /// Whether the file is as long as it may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rotation.is_some_and(|rotation| self.whole >= rotation.max_size)
    }

    /// Goes on in another file; the one before gets the name `FILE.1`, that of before `FILE.2` and so on, and what is too much
    /// is removed. The caller has ended this file and begins the next.
    ///
    /// # Errors
    ///
    /// When a file cannot be renamed, removed or made.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        let keep = self.rotation.and_then(|rotation| rotation.max_files).map_or(u32::MAX, |files| files - 1);
        let have = self.rotated.min(keep);
        if have == keep && keep > 0 {
            remove(&numbered(&self.path, keep))?;
        }
        for number in (1..=have.min(keep.saturating_sub(1))).rev() {
            fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1))?;
        }
        if keep > 0 {
            fs::rename(&self.path, numbered(&self.path, 1))?;
        } else {
            remove(&self.path)?;
        }
        self.file = open(&self.path, false)?;
        self.rotated += 1;
        self.whole = 0;
        self.begin()
    }

    /// Files begun before this one.
    #[must_use]
    pub fn rotated(&self) -> u32 {
        self.rotated
    }

    /// Bytes written, in all files.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Has the kernel bring the file to the disk.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(&frame::header());
        self.put()
    }

    /// Appends `self.frame`, all of it or nothing.
    fn put(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.frame) {
            // If this fails, too, the reader finds the frame cut off.
            let _ = self.file.set_len(self.whole);
            return Err(error);
        }
        self.whole += self.frame.len() as u64;
        self.written += self.frame.len() as u64;
        Ok(())
    }
}

fn open(path: &Path, overwrite: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Readable by its owner only: it says what every process of the machine is connected to.
    options.append(true).mode(0o600);
    if overwrite {
        let file = options.create(true).open(path)?;
        // What is no regular file, such as `/dev/null` or a pipe, has no length.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        return Ok(file);
    }
    options.create_new(true).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// `FILE.1` and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}
