//! Why something is not written to.

use std::{fmt, io, path::PathBuf};

/// Why a file is not made.
#[derive(Debug, thiserror::Error)]
pub enum OutfileError {
    /// The name itself is a link.
    #[error("`{}` is a symbolic link and is not followed: remove it, or name its target", .0.display())]
    Link(PathBuf),
    /// A link on the way to it.
    #[error(
        "`{}` is a symbolic link of another user (uid {owner}) and is not followed: name the directory that is meant",
        .path.display()
    )]
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is no name.
    #[error("`{}` is a directory: name a file in it", .0.display())]
    Directory(PathBuf),
    /// What nobody writes a file to.
    #[error("`{}` is {kind}, which is not written to: remove it, or give another name", .path.display())]
    Kind {
        /// It.
        path: PathBuf,
        /// What it is.
        kind: Kind,
    },
    /// Whoever made it may read from it.
    #[error("`{}` is {kind} of another user (uid {owner}) and is not written to: remove it, or give another name", .path.display())]
    Foreign {
        /// It.
        path: PathBuf,
        /// What it is.
        kind: Kind,
        /// Whose it is.
        owner: u32,
    },
    /// It is one of ours, or none.
    #[error("`{}` is no descriptor for writing that tcpstate was started with", .0.display())]
    NotHanded(PathBuf),
    /// Something else.
    #[error("failed to make `{}`", .path.display())]
    Failed {
        /// What was to be made.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl OutfileError {
    /// The same for who names the file already.
    #[must_use]
    pub fn without_path(self) -> io::Error {
        match self {
            Self::Failed { source, .. } => source,
            other => io::Error::other(other),
        }
    }
}

/// What is no file to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A named pipe.
    Pipe,
    /// One with more than one name.
    LinkedPipe,
    /// A character device.
    Device,
    /// A block device.
    Disk,
    /// A UNIX socket.
    Socket,
    /// What this kernel has and we do not know.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "a pipe",
            Self::LinkedPipe => "a pipe with several names",
            Self::Device => "a device",
            Self::Disk => "a block device",
            Self::Socket => "a socket",
            Self::Unknown => "of an unknown kind",
        })
    }
}
