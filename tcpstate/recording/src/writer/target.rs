//! What a recording is written to.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tcpstate_outfile::{Directory, NewFile, OutfileError, Regular, There, inherited};

use crate::series::FileSeries;

/// When to begin another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file, about: a file ends after the frame that reaches them.
    pub max_size: u64,
    /// Files that are kept, the current one included; `None` for all.
    pub max_files: Option<u32>,
}

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// This file must not be lost.
    #[error("`{}` is there already: give another name, or `--overwrite`", .0.display())]
    Exists(PathBuf),
    /// Their frames would lie one among the other's.
    #[error("another `tcpstate record` writes to `{}`: give another name, or end that one", .0.display())]
    Busy(PathBuf),
    /// A device or a pipe is not renamed.
    #[error("`{}` is no regular file, and only such a one can be rotated: leave out `--max-size`", .0.display())]
    NotRegular(PathBuf),
    /// It cannot be made, or must not.
    #[error(transparent)]
    File(#[from] OutfileError),
}

/// What a recording is written to.
#[derive(Debug)]
pub(super) enum Target {
    /// Files of our own.
    Files(Box<Files>),
    /// What has no length and is not locked: a pipe, a device, a descriptor that we were given.
    Stream(File),
}

/// The current file, locked, and those before it.
#[derive(Debug)]
pub(super) struct Files {
    current: NewFile,
    /// Whether it has its name.
    published: bool,
    /// Whether it takes the place of what has that name.
    overwrite: bool,
    series: FileSeries,
}

impl Target {
    pub(super) fn open(path: &Path, overwrite: bool, rotation: Option<Rotation>) -> Result<Self, CreateError> {
        let exists = || CreateError::Exists(path.to_owned());
        let check_stream = || match rotation {
            _ if !overwrite => Err(exists()),
            Some(_) => Err(CreateError::NotRegular(path.to_owned())),
            None => Ok(()),
        };
        if let Some(given) = inherited(path)? {
            check_stream()?;
            return Ok(Self::Stream(given));
        }
        let (directory, name) = Directory::of(path)?;
        match directory.look(&name)? {
            There::Nothing => {}
            There::Stream => {
                check_stream()?;
                return Ok(Self::Stream(directory.stream(&name)?));
            }
            There::Regular(_) if !overwrite => return Err(exists()),
            There::Regular(found) => check_free(&directory, &name, found)?,
        }
        let series = FileSeries::new(directory, name, rotation.and_then(|rotation| rotation.max_files), overwrite);
        if rotation.is_some() {
            let before = series.numbered(1);
            let is_there = series.directory().look(&before)? != There::Nothing;
            if is_there && !overwrite {
                return Err(CreateError::Exists(series.directory().join(&before)));
            }
        }
        let current = create(&series)?;
        Ok(Self::Files(Box::new(Files { current, published: false, overwrite, series })))
    }

    pub(super) fn file(&mut self) -> &mut File {
        match self {
            Self::Files(files) => files.current.file(),
            Self::Stream(file) => file,
        }
    }

    /// Takes back what is beyond this length.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        match self {
            Self::Files(files) => files.current.file().set_len(length),
            Self::Stream(_) => Ok(()),
        }
    }

    /// Has the file take its name, if it has not.
    pub(super) fn publish(&mut self) -> io::Result<()> {
        let Self::Files(files) = self else { return Ok(()) };
        if files.published {
            return Ok(());
        }
        let (directory, name) = (files.series.directory(), files.series.name());
        let path = directory.join(name);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        if files.overwrite {
            // Another one may have come meanwhile.
            if let There::Regular(found) = directory.look(name).map_err(io::Error::other)? {
                check_free(directory, name, found).map_err(io::Error::other)?;
            }
            files.current.replace().map_err(named)?;
        } else {
            files.current.publish().map_err(named)?;
        }
        files.published = true;
        Ok(())
    }

    /// Goes on in another file.
    pub(super) fn next(&mut self) -> io::Result<()> {
        let Self::Files(files) = self else { return Ok(()) };
        files.series.make_room(files.current.id()?)?;
        files.current = create(&files.series).map_err(|error| match error {
            OutfileError::Failed { path, source } => {
                io::Error::new(source.kind(), format!("failed to make `{}`: {source}", path.display()))
            }
            other => io::Error::other(other),
        })?;
        files.published = false;
        // What had this name has another one now.
        files.overwrite = false;
        Ok(())
    }
}

/// Readable by its owner only: it says what every process of the machine is connected to.
fn create(series: &FileSeries) -> Result<NewFile, OutfileError> {
    let mut file = NewFile::create_private(series.directory().clone(), series.name().to_owned())?;
    let locked = lock(file.file());
    locked.map_err(|source| OutfileError::Failed { path: file.path(), source })?;
    Ok(file)
}

/// Makes sure that nobody writes to a file that is there. One of another user is of no recorder of ours.
fn check_free(directory: &Directory, name: &OsStr, found: Regular) -> Result<(), CreateError> {
    let path = || directory.join(name);
    if !found.ours {
        return Ok(());
    }
    let free = match directory.open_existing(name) {
        Ok(Some(file)) => lock(&file),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    free.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => CreateError::Busy(path()),
        _ => OutfileError::Failed { path: path(), source }.into(),
    })
}

/// Until the file is closed. Some file systems of other machines have no locks; there nobody is kept away.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        locked => Ok(locked?),
    }
}
