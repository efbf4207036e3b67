//! A file without a name, and how it takes one.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchmod, fstat, linkat, openat, unlinkat},
    io::Errno,
};

use crate::{
    directory::{Directory, FileId, by_descriptor},
    error::OutfileError,
};

/// Mode of what only its owner may read.
const PRIVATE: u32 = 0o600;
/// Mode of what others may read; the umask takes from it.
pub(crate) const READABLE: u32 = 0o644;
/// Names that are tried for a file that has to have one at once.
const TRIES: usize = 100;
/// Longest name of a file, bytes (`NAME_MAX`).
const LONGEST: usize = 255;

/// A file that takes its name when it is asked to. Dropped before that, nothing of it is left; where the file system makes files without
/// names (`O_TMPFILE`), not even if we are killed.
#[derive(Debug)]
pub struct NewFile {
    directory: Directory,
    name: OsString,
    file: File,
    /// The name that it has meanwhile, where it had to have one.
    temporary: Option<OsString>,
}

impl NewFile {
    /// Makes a file with this mode, less what the umask takes.
    ///
    /// # Errors
    ///
    /// When there can be none in that directory.
    pub fn create(directory: Directory, name: OsString, mode: u32) -> Result<Self, OutfileError> {
        let failed = |error: Errno| OutfileError::Failed { path: directory.join(&name), source: error.into() };
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC;
        let (file, temporary) = match openat(directory.fd(), ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => (file, None),
            // What file systems say that cannot, and what kernels did that did not know it.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT | Errno::NOSYS) => {
                named(&directory, &name, flags, mode).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let new = Self { directory, name, file: file.into(), temporary };
        // The umask takes; a default ACL of the directory may add, and is bounded by this.
        let given = fstat(&new.file).map(|stat| Mode::from_raw_mode(stat.st_mode) & mode);
        given
            .and_then(|given| fchmod(&new.file, given))
            .map_err(|error| OutfileError::Failed { path: new.path(), source: error.into() })?;
        Ok(new)
    }

    /// The same with exactly this mode.
    ///
    /// # Errors
    ///
    /// As [`NewFile::create`].
    pub fn create_private(directory: Directory, name: OsString) -> Result<Self, OutfileError> {
        let new = Self::create(directory, name, PRIVATE)?;
        fchmod(&new.file, Mode::from_raw_mode(PRIVATE))
            .map_err(|error| OutfileError::Failed { path: new.path(), source: error.into() })?;
        Ok(new)
    }

    /// It, to be written to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Takes its name if nothing has it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where something has; those of link(2).
    pub fn publish(&mut self) -> io::Result<()> {
        match self.temporary.take() {
            None => self.link(&self.name),
            Some(temporary) => {
                let renamed = self.directory.rename_to_free(&temporary, &self.name);
                if renamed.is_err() {
                    self.temporary = Some(temporary);
                }
                renamed
            }
        }
    }

    /// Takes its name, in place of what has it. That may be a link, which is then gone, but no directory.
    ///
    /// # Errors
    ///
    /// Those of link(2) and rename(2).
    pub fn replace(&mut self) -> io::Result<()> {
        match self.publish() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            published => return published,
        }
        if self.temporary.is_none() {
            let names = names(&self.name).take(TRIES);
            let linked = names.map(|name| self.link(&name).map(|()| name));
            let free =
                linked.filter(|linked| !matches!(linked, Err(error) if error.kind() == io::ErrorKind::AlreadyExists));
            self.temporary = Some(free.take(1).next().unwrap_or(Err(Errno::EXIST.into()))?);
        }
        if let Some(temporary) = &self.temporary {
            self.directory.rename_over(temporary, &self.name)?;
            self.temporary = None;
        }
        Ok(())
    }

    /// Which file it is.
    ///
    /// # Errors
    ///
    /// That of fstat(2).
    pub fn id(&self) -> io::Result<FileId> {
        FileId::of(&self.file)
    }

    /// The path that it will have.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    fn link(&self, name: &OsStr) -> io::Result<()> {
        Ok(linkat(CWD, by_descriptor(&self.file), self.directory.fd(), name, AtFlags::SYMLINK_FOLLOW)?)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(self.directory.fd(), temporary, AtFlags::empty());
        }
    }
}

/// A file that nobody else has made, under a name that nobody can foresee.
fn named(
    directory: &Directory,
    name: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> Result<(std::os::fd::OwnedFd, Option<OsString>), Errno> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for name in names(name).take(TRIES) {
        match openat(directory.fd(), &name, flags, mode) {
            Err(Errno::EXIST) => {}
            opened => return Ok((opened?, Some(name))),
        }
    }
    Err(Errno::EXIST)
}

/// `.NAME.RANDOM`, again and again.
fn names(name: &OsStr) -> impl Iterator<Item = OsString> {
    let random = || RandomState::new().hash_one(std::process::id());
    let begin = name.as_bytes();
    let begin = OsStr::from_bytes(&begin[..begin.len().min(LONGEST - 18)]).to_owned();
    std::iter::repeat_with(move || {
        let mut temporary = OsString::from(".");
        temporary.push(&begin);
        temporary.push(format!(".{:016x}", random()));
        temporary
    })
}
