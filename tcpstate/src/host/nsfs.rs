//! Files that are namespaces.

use std::{
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

/// `NS_GET_NSTYPE` of `include/uapi/linux/nsfs.h`: the `CLONE_NEW*` flag of a namespace. Since Linux 4.11.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Inode number of an open network namespace; `None` of any other file.
pub(crate) fn netns_of(file: &File) -> Option<u32> {
    // SAFETY: `NS_GET_NSTYPE` takes no argument and writes to no memory; on any other file it is ENOTTY.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    (kind == libc::CLONE_NEWNET).then(|| u32::try_from(file.metadata().ok()?.ino()).ok())?
}
