//! Files that a privileged program makes where others may write, too: in a directory such as `/tmp`, or in one of a user.
//!
//! Whoever may write there can put something at the name that was given: a symbolic or hard link to a file of root, a pipe that he
//! reads, a file that he has open. So nothing that is there is written to. A [`NewFile`] has no name until it is complete enough to be
//! of use; then it takes its name at once, in place of what had it, or not at all. It has the mode that was asked for, whatever stood
//! there before, and whatever the umask adds.
//!
//! - The last part of a path is never followed where it is a symbolic link. `/dev/stdout`, `/dev/fd/N` and the like are the descriptors
//!   that this process was given, and are used as such.
//! - Symbolic links on the way to it are followed only as `/proc/sys/fs/protected_symlinks` has it, whether it is on or not, and those of
//!   another user only to what is that user's.
//! - Pipes and devices are written to only where they belong to root or to us.
//! - The directory is held by a descriptor: what becomes of its path later does not matter.

mod directory;
mod error;
mod inherited;
mod new_file;
mod output_file;
mod way;

pub use self::{
    directory::{Directory, FileId, Regular, There},
    error::OutfileError,
    inherited::inherited,
    new_file::NewFile,
    output_file::{OutputFile, write},
};
