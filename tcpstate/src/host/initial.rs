//! Whether a process is in the namespaces that the kernel began with.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Inode number of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_PID: u64 = 0xefff_fffc;
/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
pub(super) const INITIAL_USER: u64 = 0xefff_fffd;

/// Whether the ids of a process, given as its directory in `/proc`, are those of the initial pid namespace, which are the kernel's.
pub(super) fn is_initial_pid_namespace(process: &Path) -> bool {
    match fs::metadata(process.join("ns/pid")) {
        Ok(namespace) => namespace.ino() == INITIAL_PID,
        // A kernel without pid namespaces has one only.
        Err(error) => error.kind() == io::ErrorKind::NotFound && process.join("ns").is_dir(),
    }
}

/// Whether this process is in the initial user namespace. A kernel without user namespaces has one only, which is the initial one.
pub(super) fn in_initial_user_namespace() -> bool {
    // Without `/proc` nobody can tell, and that is said elsewhere.
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL_USER)
}

/// The same of any process, given as its `ns/user`; no where it may not be looked at.
pub(super) fn is_initial_user_namespace(namespace: &Path) -> bool {
    match fs::metadata(namespace) {
        Ok(namespace) => namespace.ino() == INITIAL_USER,
        // A kernel without user namespaces has no such file.
        Err(error) => error.kind() == io::ErrorKind::NotFound && namespace.parent().is_some_and(Path::is_dir),
    }
}
