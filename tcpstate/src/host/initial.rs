//! Whether we are in the namespaces that the kernel began with.

use std::{fs, os::unix::fs::MetadataExt as _};

/// Inode number of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_PID: u64 = 0xefff_fffc;
/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USER: u64 = 0xefff_fffd;

/// Whether process ids are those of the initial pid namespace, which are the kernel's.
pub(super) fn in_initial_pid_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL_PID)
}

/// Whether this process is in the initial user namespace. A kernel without user namespaces has one only, which is the initial one.
pub(super) fn in_initial_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL_USER)
}
