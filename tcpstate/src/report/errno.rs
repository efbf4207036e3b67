//! Names of error numbers.

use std::fmt;

/// An error number by its name, as people look it up: those that the kernel gives where it refuses a BPF program or a hook.
pub(super) struct Errno(pub(super) i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Internal to the kernel (include/linux/errno.h), and yet given to user space.
        const ENOTSUPP: i32 = 524;
        let name = match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::E2BIG => "E2BIG",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::EINVAL => "EINVAL",
            libc::ENOSPC => "ENOSPC",
            libc::ENOSYS => "ENOSYS",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            ENOTSUPP => "ENOTSUPP",
            other => return write!(f, "errno {other}"),
        };
        f.write_str(name)
    }
}
