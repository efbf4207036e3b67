//! The structures of the kernel, as far as they are read.

pub(crate) mod file;
pub(crate) mod sock;
