//! A directory and what is in it, by name, however its own path changes.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, fstat, openat, renameat, renameat_with, statat,
        unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use crate::{
    error::{Kind, OutfileError},
    way,
};

/// A directory that files are made in.
#[derive(Clone, Debug)]
pub struct Directory {
    descriptor: Arc<OwnedFd>,
    /// As it was given, for messages; empty for the current one.
    path: PathBuf,
}

/// What has a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A regular file.
    Regular(Regular),
    /// A pipe or a device that may be written to.
    Stream,
}

/// A regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regular {
    /// Which one it is.
    pub id: FileId,
    /// Whether it belongs to the user that we run as.
    pub ours: bool,
}

/// Which file it is, whatever its name, as long as nobody writes to it. Numbers of inodes are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    owner: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileId {
    /// That of an open file.
    ///
    /// # Errors
    ///
    /// That of fstat(2).
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_stat(&fstat(file)?))
    }

    fn of_stat(stat: &Stat) -> Self {
        let modified = (stat.st_mtime, stat.st_mtime_nsec as i64);
        Self { device: stat.st_dev, inode: stat.st_ino, owner: stat.st_uid, modified }
    }
}

impl Directory {
    /// Goes to the directory of a path; returns it and the name in it.
    ///
    /// # Errors
    ///
    /// When there is none, a link of another user stands on the way, or the path has no name.
    pub fn of(path: &Path) -> Result<(Self, OsString), OutfileError> {
        let (directory, name) = way::split(path)?;
        let descriptor = Arc::new(way::open(directory)?);
        Ok((Self { descriptor, path: directory.to_owned() }, name))
    }

    /// The path of what has this name in it.
    #[must_use]
    pub fn join(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// What has this name.
    ///
    /// # Errors
    ///
    /// When it is what is not written to: a link, a directory, a pipe of another user.
    pub fn look(&self, name: &OsStr) -> Result<There, OutfileError> {
        let failed = |error: Errno| OutfileError::Failed { path: self.join(name), source: error.into() };
        let stat = match statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(error) => return Err(failed(error)),
        };
        self.judge(name, &stat)
    }

    fn judge(&self, name: &OsStr, stat: &Stat) -> Result<There, OutfileError> {
        let path = || self.join(name);
        let stream = |kind| {
            let owner = stat.st_uid;
            if owner != 0 && owner != geteuid().as_raw() {
                return Err(OutfileError::Foreign { path: path(), kind, owner });
            }
            // Another user's name for a pipe that is not his.
            if kind == Kind::Pipe && stat.st_nlink > 1 {
                return Err(OutfileError::Kind { path: path(), kind: Kind::LinkedPipe });
            }
            Ok(There::Stream)
        };
        let kind = |kind| Err(OutfileError::Kind { path: path(), kind });
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let ours = stat.st_uid == geteuid().as_raw();
                Ok(There::Regular(Regular { id: FileId::of_stat(stat), ours }))
            }
            FileType::Symlink => Err(OutfileError::Link(path())),
            FileType::Directory => Err(OutfileError::Directory(path())),
            FileType::Fifo => stream(Kind::Pipe),
            FileType::CharacterDevice => stream(Kind::Device),
            FileType::BlockDevice => kind(Kind::Disk),
            FileType::Socket => kind(Kind::Socket),
            FileType::Unknown => kind(Kind::Unknown),
        }
    }

    /// Opens the pipe or the device of this name to write to; of a pipe that waits for who reads it.
    ///
    /// # Errors
    ///
    /// When it is another thing by now, or those of open(2).
    pub fn stream(&self, name: &OsStr) -> Result<File, OutfileError> {
        let failed = |error: Errno| OutfileError::Failed { path: self.join(name), source: error.into() };
        let found = openat(self.fd(), name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let found = found.map_err(failed)?;
        if self.judge(name, &fstat(&found).map_err(failed)?)? != There::Stream {
            return Err(failed(Errno::STALE));
        }
        // The very one that was looked at.
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(CWD, by_descriptor(&found), flags, Mode::empty()).map_err(failed)?;
        Ok(file.into())
    }

    /// Opens a regular file of ours to ask for its lock; `None` where it is not there any more.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open_existing(&self, name: &OsStr) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(self.fd(), name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this name is that of this file.
    #[must_use]
    pub fn is(&self, name: &OsStr, id: FileId) -> bool {
        let found = statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| FileId::of_stat(&stat) == id)
    }

    /// Gives a file another name, if nothing has it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where something has; those of rename(2).
    pub fn rename_to_free(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match renameat_with(self.fd(), from, self.fd(), to, RenameFlags::NOREPLACE) {
            // A file system that cannot.
            Err(Errno::INVAL | Errno::NOSYS) => match statat(self.fd(), to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(renameat(self.fd(), from, self.fd(), to)?),
                Ok(_) => Err(Errno::EXIST.into()),
                Err(error) => Err(error.into()),
            },
            renamed => Ok(renamed?),
        }
    }

    /// Gives a file another name in place of what has it, which may be a link, but no directory.
    ///
    /// # Errors
    ///
    /// Those of rename(2).
    pub fn rename_over(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(self.fd(), from, self.fd(), to)?)
    }

    /// Removes this file, if this name is still its own.
    ///
    /// # Errors
    ///
    /// Those of unlink(2), but none where it is gone.
    pub fn remove(&self, name: &OsStr, id: FileId) -> io::Result<()> {
        if !self.is(name, id) {
            return Ok(());
        }
        match unlinkat(self.fd(), name, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.descriptor
    }
}

/// The path by which the kernel finds an open file again.
pub(crate) fn by_descriptor(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}
