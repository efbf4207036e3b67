//! The network namespaces that there are.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    num::NonZeroU32,
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tcpstate_broker::process::thread;

use super::{Host, HostError, initial::is_initial_user_namespace, netns_mounts, nsfs::netns_of, processes::is_absent};

/// The one network namespace that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyNetns {
    /// Its inode number.
    pub inode: u32,
    /// What the user called it.
    pub given: String,
    /// Where it can be opened, when the user gave a path.
    pub path: Option<PathBuf>,
}

impl OnlyNetns {
    /// Resolves what the user called it.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn new(given: &OsStr, host: &Host) -> Result<Self, HostError> {
        let inode = host.netns_inode(given)?;
        let path = given.as_encoded_bytes().contains(&b'/').then(|| PathBuf::from(given));
        Ok(Self { inode, given: given.to_string_lossy().into_owned(), path })
    }
}

impl Host {
    /// Inode number of our own network namespace.
    ///
    /// # Errors
    ///
    /// When `/proc` does not tell.
    pub(crate) fn own_netns(&self) -> Result<u32, HostError> {
        self.check_proc()?;
        let path = self.proc.join("self/ns/net");
        let inode = fs::metadata(&path).map(|namespace| namespace.ino());
        let inode = inode.and_then(|inode| u32::try_from(inode).map_err(io::Error::other));
        inode.map_err(|source| HostError::Read { path, source })
    }

    /// Inode number of a network namespace, given by name, path or that very number.
    ///
    /// # Errors
    ///
    /// When it is none of these.
    pub fn netns_inode(&self, name: &OsStr) -> Result<u32, HostError> {
        let given = PathBuf::from(name);
        let is_path = name.as_bytes().contains(&b'/');
        let path = if is_path { given.clone() } else { self.netns_names.join(name) };
        match File::open(&path) {
            Ok(file) => netns_of(&file).ok_or(HostError::NotNetns(given)),
            Err(error) if is_absent(&error) => {
                let inode = name.to_str().and_then(|number| number.parse().ok());
                inode.map(NonZeroU32::get).ok_or(HostError::NoNetns(given))
            }
            Err(source) => Err(HostError::Read { path, source }),
        }
    }
}

/// Network namespaces that are looked into, at most: whoever has a user namespace makes as many as he likes, and each takes some 50 µs.
const MOST_NAMESPACES: usize = 4096;

/// Network namespaces other than our own: of every process, and those that a mount keeps without one, as `ip netns` and container
/// runtimes make them.
///
/// Processes and names that vanish meanwhile are passed over.
pub(crate) fn other_network_namespaces() -> Vec<File> {
    let mut seen = HashSet::new();
    if let Ok(own) = fs::metadata("/proc/self/ns/net") {
        seen.insert(own.ino());
    }
    let pids = fs::read_dir("/proc").into_iter().flatten();
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_processes = pids.map(|pid| thread::directory(Path::new("/proc"), pid)).filter_map(|process| {
        // Linux 5.10 leads who may not look at the process to the directory of the link instead of to an error.
        let namespace = process.join("ns/net");
        let inode = fs::metadata(&namespace).ok().filter(fs::Metadata::is_file)?.ino();
        seen.insert(inode).then(|| Some((process, File::open(&namespace).ok()?)))?
    });
    let mut of_processes: Vec<(PathBuf, File)> = of_processes.collect();
    let mounted = netns_mounts::find(Path::new("/proc")).into_iter();
    let mounted = mounted.filter(|mount| seen.insert(mount.inode.into())).filter_map(|mount| mount.open().ok());
    let mut found: Vec<File> = mounted.collect();
    if found.len() + of_processes.len() > MOST_NAMESPACES {
        tracing::warn!(
            "more than {MOST_NAMESPACES} network namespaces: sockets without a descriptor in the others are not found"
        );
        // Those that an unprivileged user can have made come last.
        of_processes.sort_by_key(|(process, _)| !is_initial_user_namespace(&process.join("ns/user")));
    }
    found.extend(of_processes.into_iter().map(|(_, namespace)| namespace));
    found.truncate(MOST_NAMESPACES);
    found
}

/// Runs `work` in another network namespace, on a thread that ends with it.
///
/// # Errors
///
/// When the namespace cannot be entered (`CAP_SYS_ADMIN`).
pub(crate) fn in_network_namespace<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// Runs `work` on a thread that ends with it, and may be in namespaces of its own.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("tcpstate-ns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::host::pids::Pids;

    /// This machine, as one whose process ids are the kernel's.
    fn host() -> Host {
        Host { pids: Pids::Kernel, ..Host::detect() }
    }

    #[test]
    fn a_network_namespace_has_a_name_a_path_or_a_number() -> io::Result<()> {
        let names = tempfile::tempdir()?;
        let own = fs::metadata("/proc/self/ns/net")?.ino();
        symlink("/proc/self/ns/net", names.path().join("blue"))?;
        symlink("/proc/self/ns/net", names.path().join("7"))?;
        symlink("/proc/self/ns/mnt", names.path().join("mount"))?;
        fs::write(names.path().join("plain"), "")?;
        let host = Host { netns_names: names.path().to_owned(), ..host() };
        let inode = |name: &str| host.netns_inode(OsStr::new(name)).map(u64::from).map_err(|error| error.to_string());
        assert_eq!(inode("blue"), Ok(own));
        assert_eq!(inode("7"), Ok(own), "a name comes before a number");
        assert_eq!(inode("/proc/self/ns/net"), Ok(own));
        assert_eq!(inode("4026531840"), Ok(4_026_531_840));
        for name in ["green", "0", "4294967296", "", "/proc/self/ns/nothing", "/proc/self/ns/mnt", "mount", "plain"] {
            let error = inode(name).expect_err("no network namespace");
            assert!(
                error.contains(&format!("no network namespace `{name}`")) || error.contains("is no network"),
                "{error}"
            );
            assert!(error.contains("/proc/PID/ns/net"), "{error}");
        }
        Ok(())
    }
}
