//! The way to a directory, part by part, each opened below the one before.

use std::{
    collections::VecDeque,
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, openat, readlinkat},
    io::Errno,
    process::geteuid,
};

use crate::error::OutfileError;

/// Links that are followed at most, as the kernel does (`MAXSYMLINKS` of `include/linux/namei.h`).
const MOST_LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

/// Opens a directory: `path` without its last part.
///
/// # Errors
///
/// When it is none, or a link of somebody else stands on the way to it.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, OutfileError> {
    let mut way = Way { path, walked: PathBuf::new(), rest: VecDeque::new(), links: 0 };
    let begin = way.add(path.as_os_str());
    let mut here = way.root(begin)?;
    while let Some(part) = way.rest.pop_front() {
        here = way.step(here, &part)?;
    }
    Ok(here)
}

struct Way<'a> {
    path: &'a Path,
    /// For messages: what has been gone of what was given.
    walked: PathBuf,
    rest: VecDeque<OsString>,
    links: usize,
}

impl Way<'_> {
    /// Goes through these parts next; returns whether they begin at the root.
    fn add(&mut self, text: &OsStr) -> bool {
        let parts = text.as_bytes().split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        for part in parts.rev() {
            self.rest.push_front(OsStr::from_bytes(part).to_owned());
        }
        text.as_bytes().starts_with(b"/")
    }

    fn root(&mut self, absolute: bool) -> Result<OwnedFd, OutfileError> {
        let begin = if absolute { "/" } else { "." };
        if absolute {
            self.walked = PathBuf::from("/");
        }
        openat(rustix::fs::CWD, begin, DIRECTORY, Mode::empty()).map_err(|error| self.failed(error))
    }

    fn step(&mut self, here: OwnedFd, part: &OsStr) -> Result<OwnedFd, OutfileError> {
        self.walked.push(part);
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let found = openat(&here, part, flags, Mode::empty()).map_err(|error| self.failed(error))?;
        let stat = fstat(&found).map_err(|error| self.failed(error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(found),
            FileType::Symlink => self.follow(here, found, &stat, part),
            _ => Err(self.failed(Errno::NOTDIR)),
        }
    }

    /// Follows a link, if that may be done.
    fn follow(&mut self, here: OwnedFd, link: OwnedFd, stat: &Stat, part: &OsStr) -> Result<OwnedFd, OutfileError> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(self.failed(Errno::LOOP));
        }
        let foreign = || OutfileError::ForeignLink { path: self.walked.clone(), owner: stat.st_uid };
        let is_ours = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
        if is_ours {
            // Those of `/proc` lead to what is open, and not to what they say.
            if fstatfs(&link).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC) {
                return openat(&here, part, DIRECTORY, Mode::empty()).map_err(|error| self.failed(error));
            }
            let target = target(&link).map_err(|error| self.failed(error))?;
            return if self.add(&target) {
                openat(rustix::fs::CWD, "/", DIRECTORY, Mode::empty()).map_err(|error| self.failed(error))
            } else {
                Ok(here)
            };
        }
        let above = fstat(&here).map_err(|error| self.failed(error))?;
        if is_everybodys(&above) && stat.st_uid != above.st_uid {
            return Err(foreign());
        }
        // What he could do himself he may have us do.
        let there = openat(&here, part, DIRECTORY, Mode::empty()).map_err(|error| self.failed(error))?;
        let owner = fstat(&there).map_err(|error| self.failed(error))?.st_uid;
        if owner == stat.st_uid { Ok(there) } else { Err(foreign()) }
    }

    fn failed(&self, error: Errno) -> OutfileError {
        OutfileError::Failed { path: self.path.to_owned(), source: error.into() }
    }
}

/// A directory in which everybody may make things, and nobody take away those of others.
pub(crate) fn is_everybodys(stat: &Stat) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    mode.contains(Mode::SVTX) && mode.intersects(Mode::WOTH | Mode::WGRP)
}

fn target(link: impl AsFd) -> Result<OsString, Errno> {
    let target: CString = readlinkat(link, "", Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// The directory and the name in it.
///
/// # Errors
///
/// When the path has no name at its end.
pub(crate) fn split(path: &Path) -> Result<(&Path, OsString), OutfileError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(OutfileError::Failed { path: path.to_owned(), source });
    }
    let at = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = bytes.split_at(at);
    let name = OsStr::from_bytes(name);
    if matches!(name.as_bytes(), b"" | b"." | b"..") {
        return Err(OutfileError::Directory(path.to_owned()));
    }
    Ok((Path::new(OsStr::from_bytes(directory)), name.to_owned()))
}
