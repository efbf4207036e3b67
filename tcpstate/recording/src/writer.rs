//! A recording on its way into files. Append-only: what is written is never changed, only a frame that a full disk cut off is
//! taken back.

mod target;

use std::{
    io::{self, Write as _},
    mem,
    path::Path,
};

use tcpstate_outfile::OutfileError;

use self::target::Target;
pub use self::target::{CreateError, Rotation};
use super::{
    content::Content,
    frames::Frames,
    header::{HEADER, header},
};

/// An open recording.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    rotation: Option<Rotation>,
    /// Bytes of whole frames in the file.
    whole: u64,
    /// Bytes of whole frames in all files.
    written: u64,
    /// Files begun before this one.
    rotated: u32,
    /// What is being written, kept for its memory.
    frames: Frames,
}

impl Writer {
    /// Begins a file, which has its name from its first frame on: until then what was there is there.
    ///
    /// # Errors
    ///
    /// When it exists and is not to be overwritten, is being written to, or cannot be made.
    pub fn create(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> Result<Self, CreateError> {
        let target = Target::open(path, overwrite, rotation)?;
        let mut writer = Self { target, rotation, whole: 0, written: 0, rotated: 0, frames: Frames::default() };
        writer.begin().map_err(|source| OutfileError::Failed { path: path.to_owned(), source })?;
        Ok(writer)
    }

    /// Writes a frame, all of it or nothing.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write(&mut self, content: Content) -> io::Result<()> {
        let mut frames = mem::take(&mut self.frames);
        frames.clear();
        let written = frames.push(content).and_then(|()| self.put(frames.bytes()));
        self.frames = frames;
        written
    }

    /// Writes frames, all or none of them.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write_frames(&mut self, frames: &Frames) -> io::Result<()> {
        self.put(frames.bytes())
    }

    /// Whether the file is as long as it may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rotation.is_some_and(|rotation| self.whole >= rotation.max_size)
    }

    /// Goes on in another file; the one before gets the name `FILE.1`, that of before `FILE.2` and so on, and what is too much
    /// is removed. Numbers that others have are passed over: only files of this recording are renamed and removed, and with
    /// `overwrite` those of an earlier one of the same user replaced. The caller has ended this file and begins the next.
    ///
    /// # Errors
    ///
    /// When a file cannot be renamed, removed or made.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        self.target.next()?;
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

    /// Has the kernel bring the file to the disk, where it has one: a pipe or a device says `EINVAL` (fsync(2)).
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn sync(&mut self) -> io::Result<()> {
        match self.target.file().sync_data() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.put(&header())
    }

    /// Appends bytes, all of them or none.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.target.file().write_all(bytes) {
            // If this fails, too, the reader finds the frame cut off.
            let _ = self.target.cut(self.whole);
            return Err(error);
        }
        self.whole += bytes.len() as u64;
        self.written += bytes.len() as u64;
        // A file without a frame would only be in the way.
        if self.whole > HEADER as u64 { self.target.publish() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tcpstate_core::model::MonotonicNs;

    use super::*;
    use crate::content::RecordingEnd;

    const ROTATION: Option<Rotation> = Some(Rotation { max_size: 1 << 20, max_files: None });

    fn end() -> Content {
        Content::End(RecordingEnd { at: MonotonicNs(1), rotated: false })
    }

    fn refused(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> String {
        Writer::create(path, overwrite, rotation).expect_err("refused").to_string()
    }

    #[test]
    fn a_file_has_one_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tcps");
        let mut first = Writer::create(&path, false, None).expect("a file");
        assert!(!path.exists(), "nothing is in it");
        first.write(end()).expect("disk");
        let begun = fs::metadata(&path).expect("a file").len();
        let error = refused(&path, true, None);
        assert_eq!(
            error,
            format!("another `tcpstate record` writes to `{}`: give another name, or end that one", path.display())
        );
        assert_eq!(fs::metadata(&path).expect("a file").len(), begun, "what is in it stays");
        first.write(end()).expect("disk");
        let longer = fs::metadata(&path).expect("a file").len();
        drop(first);
        let mut second = Writer::create(&path, true, None).expect("it is free again");
        assert_eq!(fs::metadata(&path).expect("a file").len(), longer, "until there is another");
        second.write(end()).expect("disk");
        assert_eq!(fs::metadata(&path).expect("a file").len(), begun);
    }

    #[test]
    fn what_has_no_disk_is_not_brought_there() {
        let mut writer = Writer::create(Path::new("/dev/null"), true, None).expect("a device");
        writer.sync().expect("nothing to do");
    }

    #[test]
    fn the_file_that_is_there_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tcps");
        let before = directory.path().join("a.tcps.1");
        fs::write(&before, "").expect("a file");
        let is_there =
            |path: &Path| format!("`{}` is there already: give another name, or `--overwrite`", path.display());
        assert_eq!(refused(&path, false, ROTATION), is_there(&before));
        assert!(!path.exists());
        let mut writer = Writer::create(&path, false, None).expect("that of before is in nobody's way");
        writer.write(end()).expect("disk");
        drop(writer);
        assert_eq!(refused(&path, false, None), is_there(&path));
        let device = Path::new("/dev/null");
        assert!(refused(device, true, ROTATION).starts_with("`/dev/null` is no regular file"));
    }
}
