//! The bytes of an open file, without reading them all.

#![expect(unsafe_code, reason = "a mapping's bytes are another's file, and no type says so")]

use std::{fs::File, io, ops::Deref};

use memmap2::{Mmap, MmapOptions};

/// Larger files are not read, bytes. The debug info of a browser has a quarter of it.
const MAX_FILE: u64 = 4 << 30;

/// A file in memory, as far as it is looked at.
#[derive(Debug)]
pub(in crate::symbolize) struct FileBytes(Mmap);

impl FileBytes {
    /// Maps the whole of a regular file.
    ///
    /// # Errors
    ///
    /// Those of `mmap(2)`; [`io::ErrorKind::FileTooLarge`] of one beyond [`MAX_FILE`], [`io::ErrorKind::UnexpectedEof`] of an empty one.
    pub(in crate::symbolize) fn new(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(length).ok().filter(|_| length <= MAX_FILE);
        let length = length.ok_or(io::Error::from(io::ErrorKind::FileTooLarge))?;
        // SAFETY: The mapping is read-only and lives as long as the bytes are borrowed. Whoever owns the file can write to it or
        // truncate it meanwhile. The first changes bytes that are read as plain numbers and checked where they are used: no `&str`
        // and no other type with values that are none is made of them in place. The second raises SIGBUS, which ends the process:
        // what maps files of others runs where that is allowed to happen.
        let mapping = unsafe { MmapOptions::new().len(length).map(file) }?;
        Ok(Self(mapping))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
