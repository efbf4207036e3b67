//! Network namespaces that are kept by a mount: by the name that a container runtime or `ip netns` has mounted them under, in
//! whatever mount namespace.
//!
//! Whoever has a user namespace of its own mounts what it likes there, also a file system (FUSE) whose every answer it may keep back, and
//! then no signal ends the wait for it. So no such file system is asked: the kernel looks a path up only as far as it has the way in mind
//! (`RESOLVE_CACHED`), which it does for every mount, as the mount keeps the way to it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, open, openat2, statx},
    io::Errno,
};
use tcpstate_broker::process::thread;

use super::{bounded, initial, mountinfo, nsfs::netns_of};

/// Mount namespaces looked into. Each takes some 50 µs, where it has a few hundred mounts.
const MOST: usize = 1024;

/// Network namespaces that mounts are found of.
const MOST_FOUND: usize = 4096;

/// Bytes read of what is mounted in one of them: some 100,000 mounts, the most that there may be (`fs.mount-max`).
const MOST_OF_ONE: u64 = 16 << 20;

/// Bytes read of what is mounted anywhere, and the time that this may take: events wait meanwhile. One's own mount namespace is the first
/// one, and then come those of processes of the host's user namespace.
const MOST_BYTES: u64 = 32 << 20;
const LONGEST: Duration = Duration::from_millis(250);

/// How often a way is tried that the kernel was not sure of.
const TRIES: u32 = 8;

/// `NS_GET_USERNS` of `include/uapi/linux/nsfs.h`: the user namespace that a namespace belongs to. Since Linux 4.9.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// A mount of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetnsMount {
    /// Inode number of the network namespace.
    pub(crate) inode: u32,
    /// A process that sees the mount.
    pid: u32,
    /// Where it sees it.
    path: PathBuf,
}

impl NetnsMount {
    /// Opens the network namespace.
    ///
    /// # Errors
    ///
    /// When the process is gone or the mount is, another one hides it, or a file system would have to be asked for the way that may be
    /// anybody's.
    pub(crate) fn open(&self) -> io::Result<File> {
        let root =
            open(thread::file(self.pid, "root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let below_root = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let look_up = |resolve| openat2(&root, &self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        // Where something is mounted or renamed at this moment, the kernel is not sure of the way.
        let mut cached = look_up(below_root | ResolveFlags::CACHED);
        for _ in 1..TRIES {
            if !matches!(cached, Err(Errno::AGAIN)) {
                break;
            }
            cached = look_up(below_root | ResolveFlags::CACHED);
        }
        let found = match cached {
            // Before Linux 5.12.
            Err(Errno::INVAL) if self.is_of_host() => look_up(below_root)?,
            Err(Errno::INVAL) => {
                return Err(io::Error::other(
                    "before Linux 5.12 mounts are not followed that are in a user namespace of their own",
                ));
            }
            Err(Errno::AGAIN) => {
                return Err(io::Error::other("its file system would have to be asked, which may not answer"));
            }
            found => found?,
        };
        // Mounts are anybody's who has a mount namespace: nothing but a namespace is opened, which what was found leads to by itself.
        if !is_namespace(&found, self.inode)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another mount hides the network namespace"));
        }
        let file =
            open(format!("/proc/self/fd/{}", found.as_raw_fd()), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = File::from(file?);
        match netns_of(&file) {
            Some(_) => Ok(file),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no network namespace")),
        }
    }

    /// Whether nobody but who is root of the host can have mounted anything there, or chosen the root of the process.
    fn is_of_host(&self) -> bool {
        initial::is_initial_user_namespace(&thread::file(self.pid, "ns/user"))
            && File::open(thread::file(self.pid, "ns/mnt")).is_ok_and(|namespace| is_of_initial_users(&namespace))
    }
}

/// Whether this is the namespace with that inode number: all are of one file system, which is nobody's to mount. No other one is asked.
fn is_namespace(found: &OwnedFd, inode: u32) -> io::Result<bool> {
    let what = |file: &dyn AsFd| {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        statx(file.as_fd(), "", flags, StatxFlags::INO)
            .map(|found| (found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
    };
    let own = what(&File::open("/proc/self/ns/net")?)?;
    Ok(what(found)? == (own.0, own.1, inode.into()))
}

/// Whether a namespace belongs to the initial user namespace.
fn is_of_initial_users(namespace: &File) -> bool {
    // SAFETY: `NS_GET_USERNS` takes no argument and writes to no memory; on any other file it is ENOTTY.
    let users = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if users < 0 {
        return false;
    }
    // SAFETY: a new descriptor, which nobody else has.
    let users = File::from(unsafe { OwnedFd::from_raw_fd(users) });
    users.metadata().is_ok_and(|users| users.ino() == initial::INITIAL_USER)
}

/// The mounts of network namespaces in our own mount namespace, and in those of all processes; of each network namespace the first
/// one. Processes that vanish meanwhile are passed over.
pub(crate) fn find(proc: &Path) -> Vec<NetnsMount> {
    let began = Instant::now();
    let (mut mount_namespaces, mut network_namespaces) = (HashSet::new(), HashSet::new());
    let all = fs::read_dir(proc).into_iter().flatten();
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all = [process::id()].into_iter().chain(all).map(|pid| (pid, thread::directory(proc, pid)));
    let (of_host, others): (Vec<(u32, PathBuf)>, Vec<_>) =
        all.partition(|(_, directory)| initial::is_initial_user_namespace(&directory.join("ns/user")));
    let mut found = Vec::new();
    let mut left = MOST_BYTES;
    for (pid, directory) in of_host.into_iter().chain(others) {
        // Without the right to look at a process its mounts cannot be read either.
        let Ok(namespace) = fs::metadata(directory.join("ns/mnt")) else { continue };
        if mount_namespaces.contains(&namespace.ino()) {
            continue;
        }
        if mount_namespaces.len() == MOST || left == 0 || began.elapsed() > LONGEST || found.len() >= MOST_FOUND {
            tracing::warn!(
                "network namespaces are looked for in {} mount namespaces, and there are more, or they have too many mounts: those that only \
                 a mount in the others keeps are not found",
                mount_namespaces.len()
            );
            break;
        }
        let most = MOST_OF_ONE.min(left);
        let Ok((mountinfo, whole)) = bounded::lines(&directory.join("mountinfo"), most) else { continue };
        left = left.saturating_sub(mountinfo.len() as u64);
        if !whole {
            left = if most < MOST_OF_ONE { 0 } else { left };
            tracing::warn!(
                "process {pid} has too many mounts to be looked at: network namespaces kept by the others are not found"
            );
        }
        mount_namespaces.insert(namespace.ino());
        let mounts = parse(&mountinfo).filter(|&(inode, _)| network_namespaces.insert(inode));
        found.extend(mounts.map(|(inode, path)| NetnsMount { inode, pid, path }));
    }
    found.truncate(MOST_FOUND);
    found
}

/// The mounts of network namespaces among all: the root of such a mount is `net:[INODE]` (`nsfs_show_path()`, `fs/nsfs.c`, Linux
/// 6.18).
fn parse(mountinfo: &[u8]) -> impl Iterator<Item = (u32, PathBuf)> {
    mountinfo::mounts(mountinfo).filter(|mount| mount.kind == b"nsfs").filter_map(|mount| {
        let inode = str::from_utf8(mount.root).ok()?.strip_prefix("net:[")?.strip_suffix(']')?;
        Some((inode.parse().ok()?, mount.point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces_are_found_among_others() {
        let mountinfo = b"25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            301 25 0:4 net:[4026532281] /run/docker/netns/1-a\\040b rw shared:9 - nsfs nsfs rw\n\
            302 25 0:4 mnt:[4026532282] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            303 25 0:31 net:[4026532283] /tmp/fake rw - ext4 /dev/sdb rw\n\
            304 25 0:4 net:[4026532284] /var/run/netns/cni-1 rw shared:7 master:3 - nsfs nsfs rw\n\
            305 25 0:4 net:[x] /a rw - nsfs nsfs rw\n305 25";
        let found: Vec<_> = parse(mountinfo).collect();
        let expected = [(4_026_532_281, "/run/docker/netns/1-a b"), (4_026_532_284, "/var/run/netns/cni-1")];
        assert_eq!(found, expected.map(|(inode, path)| (inode, PathBuf::from(path))));
    }

    #[test]
    fn what_is_no_network_namespace_is_not_entered() {
        let mount = |path: &str| NetnsMount { inode: 1, pid: process::id(), path: path.into() };
        assert!(mount("/dev/null").open().is_err());
        assert!(mount("/etc/passwd").open().is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }
}
