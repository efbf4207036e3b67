//! Sockets that are registered with `io_uring`: the process that has the ring holds them, too, without a descriptor.
//!
//! `/proc/PID/fdinfo` of the ring lists them (`io_uring_show_fdinfo()`, `io_uring/fdinfo.c`). Up to Linux 6.12 it does not say which
//! sockets they are, and while the ring is busy it may list none.

use std::path::Path;

use crate::host::bounded;

/// What `/proc/PID/fd` calls a ring.
pub(super) const LINK: &[u8] = b"anon_inode:[io_uring]";

/// Read of one ring: some 150,000 files. A ring may have a million.
const MOST: u64 = 4 << 20;

/// Inode numbers of the sockets that a ring has among its files; none where it is gone or not ours to look at.
pub(super) fn sockets(fdinfo: &Path) -> Vec<u32> {
    bounded::lines(fdinfo, MOST).map(|(text, _)| listed(&text).collect()).unwrap_or_default()
}

/// From lines such as `    3: socket:[4711]`. Paths of files begin with a slash.
fn listed(fdinfo: &[u8]) -> impl Iterator<Item = u32> {
    let lines = fdinfo.split(|&byte| byte == b'\n').skip_while(|line| !line.starts_with(b"UserFiles:"));
    lines.skip(1).take_while(|line| line.starts_with(b" ")).filter_map(|line| {
        let (place, file) = str::from_utf8(line).ok()?.split_once(": ")?;
        place.trim_start().parse::<u32>().ok()?;
        file.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_among_the_files() {
        let text = "pos:\t0\nSqMask:\t63\n    9: socket:[1]\nUserFiles:\t6\n    0: socket:[4294967295]\n    1: /tmp/x: socket:[2]\n    \
                    2: anon_inode:[eventfd]\n    3: socket:[3\n    4: socket:[4294967296]\n    5: socket:[17]\nUserBufs:\t1\n    \
                    0: socket:[5]\n";
        assert_eq!(listed(text.as_bytes()).collect::<Vec<_>>(), [u32::MAX, 17]);
        assert_eq!(listed(b"\xff\n UserFiles:\t1\n    0: socket:[1]\n").count(), 0);
        assert_eq!(sockets(Path::new("/nonexistent")), [0; 0]);
    }
}
