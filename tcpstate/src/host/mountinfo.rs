//! What is mounted, out of the text of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount<'a> {
    /// What of the file system is mounted.
    pub(super) root: &'a [u8],
    /// Where.
    pub(super) point: PathBuf,
    /// Type of the file system.
    pub(super) kind: &'a [u8],
    /// Options of its super block.
    options: &'a [u8],
}

/// The mounts. Lines that are none are passed over.
pub(super) fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let root = fields.nth(3)?;
        let point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
        // Optional fields come before the hyphen, the type right after it.
        fields.find(|field| field == b"-")?;
        let kind = fields.next()?;
        let options = fields.nth(1).unwrap_or_default();
        Some(Mount { root, point, kind, options })
    })
}

/// Where the first cgroup2 file system is mounted.
pub(super) fn cgroup2(mountinfo: &[u8]) -> Option<PathBuf> {
    mounts(mountinfo).find(|mount| mount.kind == b"cgroup2").map(|mount| mount.point)
}

/// The options of the topmost proc file system that is mounted at `path`.
pub(super) fn proc_options(mountinfo: &[u8], path: &Path) -> Option<String> {
    let topmost = mounts(mountinfo).filter(|mount| mount.kind == b"proc" && mount.point == path).last()?;
    Some(String::from_utf8_lossy(topmost.options).into_owned())
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
    use std::path::{Path, PathBuf};

    use super::{cgroup2, proc_options};

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
    fn the_topmost_proc_counts() {
        let mounts = b"22 28 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n\
            23 22 0:33 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,fd=29\n\
            99 22 0:20 / /proc rw,nosuid - proc proc rw,gid=7,hidepid=invisible\n\
            98 22 0:55 / /mnt/proc rw - proc none rw,hidepid=ptraceable\n";
        let options = |path| proc_options(mounts, Path::new(path));
        assert_eq!(options("/proc").as_deref(), Some("rw,gid=7,hidepid=invisible"));
        assert_eq!(options("/mnt/proc").as_deref(), Some("rw,hidepid=ptraceable"));
        assert_eq!(options("/mnt"), None);
        assert_eq!(proc_options(b"", Path::new("/proc")), None);
    }

    #[test]
    fn escaped_characters_come_back() {
        let spaces = br"41 31 0:38 / /mnt/my\040cgroups\134\011\\9 rw - cgroup2 none rw";
        assert_eq!(cgroup2(spaces), Some(PathBuf::from("/mnt/my cgroups\\\t\\\\9")));
    }
}
