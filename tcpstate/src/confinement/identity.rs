//! Whom a process belongs to and where its root directory is.

use std::thread;

use anyhow::{Context as _, Result};
use rustix::{
    fs::{Gid, Uid},
    io::Errno,
    process::{chdir, chroot},
    thread::{CapabilitySet, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::capabilities;

/// A user and group that nobody is: systemd's document of user ids (`UIDS-GIDS`) has 2147483648 to 4294967294 as unused, and so has
/// Debian's policy. What runs as it can be signalled and traced by no other user's process, and owns no file.
pub const STRANGER: u32 = 3_238_387_712;
/// Where a user namespace does not map that one.
pub const NOBODY: u32 = 65_534;

/// Becomes [`STRANGER`], in no group, or as near as can be; returns whether it did. Who may not change its user (`CAP_SETUID`,
/// `CAP_SETGID`) stays who it is. To be called with one thread only: of others, nothing changes.
///
/// # Errors
///
/// Where the kernel refuses for another reason than a user namespace.
pub(super) fn become_stranger() -> Result<bool> {
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    if !capabilities::held()?.effective.contains(wanted) {
        return Ok(false);
    }
    match set_thread_groups(&[]) {
        // A user namespace in which groups may not be changed (`user_namespaces(7)`).
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error).context("failed to leave all groups"),
    }
    for id in [STRANGER, NOBODY] {
        let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
        match set_thread_res_gid(group, group, group).and_then(|()| set_thread_res_uid(user, user, user)) {
            Ok(()) => return Ok(true),
            // Not mapped in this user namespace.
            Err(Errno::INVAL) => {}
            Err(error) => return Err(error).context("failed to become another user"),
        }
    }
    Ok(false)
}

/// Moves the root directory to one that is empty and nobody can fill, if this process may; returns whether it did. To be called
/// with one thread only.
pub(super) fn leave_root() -> bool {
    // The directory of a thread in `/proc` is empty from its end on, for whoever has it still: lookups in it find no task
    // (`proc_lookupfd_common()`, `fs/proc/fd.c`). Threads have one root directory in common, so this one moves that of all.
    let moved = thread::Builder::new().spawn(|| chroot("/proc/thread-self/fdinfo").and_then(|()| chdir("/")));
    moved.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(()))))
}
