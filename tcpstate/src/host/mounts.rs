//! File systems that may not be mounted.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::namespaces::on_own_thread;

const TRACEFS: &str = "/sys/kernel/tracing";
const DEBUG_TRACEFS: &str = "/sys/kernel/debug/tracing";
const SECURITYFS: &str = "/sys/kernel/security";

/// Whether tracefs is mounted where it is looked for.
pub(crate) fn has_tracefs() -> bool {
    [TRACEFS, DEBUG_TRACEFS].iter().any(|path| Path::new(path).join("events").is_dir())
}

/// Runs `work` where tracefs is mounted: here if it is, else in a mount namespace that only `work`'s thread sees, so that
/// nothing is left mounted.
///
/// # Errors
///
/// When tracefs is not mounted and cannot be.
pub(crate) fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if has_tracefs() { Ok(work()) } else { with_mounted("tracefs", TRACEFS, work) }
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

/// Where the first cgroup2 file system is mounted, out of the text of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
#[must_use]
pub(super) fn cgroup2(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let mount_point = fields.nth(4)?;
        // Optional fields come before the hyphen, the type right after it.
        fields.find(|field| field == b"-")?;
        (fields.next()? == b"cgroup2").then(|| PathBuf::from(OsString::from_vec(unescape(mount_point))))
    })
}

/// Undoes `mangle()` of `fs/seq_file.c`: space, tab, newline and backslash come as `\` and three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        let escaped = rest.get(..3).filter(|_| byte == b'\\').and_then(octal);
        plain.push(escaped.unwrap_or(byte));
        field = if escaped.is_some() { &rest[3..] } else { rest };
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::cgroup2;

    #[test]
    fn the_first_cgroup2_is_found_among_others() {
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 master:2 - cgroup2 cgroup2 rw\n\
            42 31 0:38 / /mnt/other rw - cgroup2 none rw\n";
        assert_eq!(cgroup2(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn names_of_mounts_are_not_types() {
        assert_eq!(cgroup2(b"30 1 0:5 / /cgroup2 rw - tmpfs cgroup2 rw\n"), None);
        assert_eq!(cgroup2(b"30 1 0:5 / /a rw cgroup2 - tmpfs none rw\n"), None);
        assert_eq!(cgroup2(b""), None);
        assert_eq!(cgroup2(b"truncated line"), None);
        assert_eq!(cgroup2(b"30 1 0:5 / /a rw -"), None);
    }

    #[test]
    fn escaped_characters_come_back() {
        let spaces = br"41 31 0:38 / /mnt/my\040cgroups\134\011\\9 rw - cgroup2 none rw";
        assert_eq!(cgroup2(spaces), Some(PathBuf::from("/mnt/my cgroups\\\t\\\\9")));
    }
}
