//! What is written at once, when all of it is there.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use crate::{
    directory::{Directory, There},
    error::OutfileError,
    inherited::inherited,
    new_file::{NewFile, READABLE},
};

/// Where something is written to as a whole, at the end.
#[derive(Debug)]
pub enum OutputFile {
    /// A file in place of what is there, once it is complete.
    New(NewFile),
    /// A pipe, a device, or a descriptor that was handed to us.
    Stream(File),
}

impl OutputFile {
    /// Makes sure that something can be written to this path, which changes nothing there.
    ///
    /// # Errors
    ///
    /// When what is there cannot be written to, or must not.
    pub fn begin(path: &Path) -> Result<Self, OutfileError> {
        if let Some(stream) = inherited(path)? {
            return Ok(Self::Stream(stream));
        }
        let (directory, name) = Directory::of(path)?;
        match directory.look(&name)? {
            There::Nothing | There::Regular(_) => Ok(Self::New(NewFile::create(directory, name, READABLE)?)),
            There::Stream => Ok(Self::Stream(directory.stream(&name)?)),
        }
    }

    /// Writes all of it. Where it is a file it takes its name then, unless this fails.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::New(mut new) => {
                new.file().write_all(bytes)?;
                new.replace()
            }
            Self::Stream(mut stream) => stream.write_all(bytes),
        }
    }
}

/// Writes a file, or leaves what was there.
///
/// # Errors
///
/// As [`OutputFile::begin`] and [`OutputFile::write`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OutputFile::begin(path).map_err(OutfileError::without_path)?.write(bytes)
}
