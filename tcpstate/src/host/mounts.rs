//! File systems that may not be mounted.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::{
    namespaces::on_own_thread,
    privileges::Privileges,
    sysfs::{NO_SYSFS, has_sysfs},
};

const TRACEFS: &str = "/sys/kernel/tracing";
const DEBUG_TRACEFS: &str = "/sys/kernel/debug/tracing";
const SECURITYFS: &str = "/sys/kernel/security";

/// Whether tracefs is mounted where it is looked for, and may be entered.
pub(crate) fn has_tracefs() -> bool {
    [TRACEFS, DEBUG_TRACEFS].iter().any(|path| Path::new(path).join("events").is_dir())
}

/// The format of a tracepoint's record; `None` when there is no such tracepoint, or tracefs is not mounted.
pub(crate) fn format_of(group: &str, tracepoint: &str) -> Option<String> {
    [TRACEFS, DEBUG_TRACEFS].iter().find_map(|path| {
        fs::read_to_string(Path::new(path).join("events").join(group).join(tracepoint).join("format")).ok()
    })
}

/// Runs `work` where tracefs is mounted: here if it is, else in a mount namespace that only `work`'s thread sees, so that
/// nothing is left mounted.
///
/// # Errors
///
/// When tracefs may not be entered, or is not mounted and cannot be: with what it takes.
pub(crate) fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    if has_tracefs() {
        return Ok(work());
    }
    let takes = |capability| Privileges::read().unless_held(capability);
    match fs::metadata(Path::new(TRACEFS).join("events")) {
        // Mounted anew it would be as closed: there is one tracefs only (`get_tree_single()`, `fs/tracefs/inode.c`).
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let why = format!("`{TRACEFS}` may not be entered{}", takes("CAP_DAC_READ_SEARCH"));
            return Err(error).context(why);
        }
        _ if !has_sysfs() => bail!(NO_SYSFS),
        _ => {}
    }
    with_mounted("tracefs", TRACEFS, work).map_err(|error| {
        let takes =
            if error.kind() == io::ErrorKind::PermissionDenied { takes("CAP_SYS_ADMIN") } else { String::new() };
        anyhow::Error::from(error).context(format!(
            "tracefs is not mounted and could not be mounted privately{takes}; run `mount -t tracefs tracefs {TRACEFS}`"
        ))
    })
}

/// The same for securityfs.
///
/// # Errors
///
/// When securityfs is not mounted and cannot be.
pub(crate) fn with_securityfs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if Path::new(SECURITYFS).join("lsm").exists() { Ok(work()) } else { with_mounted("securityfs", SECURITYFS, work) }
}

fn with_mounted<T: Send>(kind: &str, path: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount(kind, path, kind, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
        Ok(work())
    })
}
