//! One pass over `/proc`: whose descriptors the sockets are, and which network namespaces there are.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    fs, io,
    mem::MaybeUninit,
    num::NonZeroUsize,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, RawDir, open, readlinkat_raw},
    io::Errno,
    process::geteuid,
};
use tcpstate_broker::process::{descriptors, thread as living};
use tcpstate_core::model::census::FoundProcess;

use super::rings;

/// Enough for `socket:[4294967295]`; longer names are of other files.
const LINK: usize = 32;
/// Descriptors listed by one system call: about 1,300.
const ENTRIES: usize = 32 << 10;
/// More than this only get into each other's way.
const WORKERS: usize = 4;
/// A process with fewer descriptors and no socket is not asked for its limit.
const FEW: u64 = 64;

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) processes: Vec<FoundProcess>,
    /// Inode number of a socket and position of the process, ascending, without repetitions.
    pub(super) holders: Vec<(u32, u32)>,
    /// Network namespaces by inode number, and where to open each.
    pub(super) namespaces: BTreeMap<u32, PathBuf>,
    /// Processes that were not ours to look at.
    pub(super) refused: Vec<u32>,
    /// Whether some of these are of another user.
    pub(super) refused_others: bool,
}

/// Looks at every process; those that end meanwhile are passed over.
///
/// The kernel takes microseconds to name a descriptor, so this is done on several processors.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub(super) fn scan(proc: &Path) -> io::Result<Pass> {
    let pids: Vec<u32> =
        fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(WORKERS);
    let next = AtomicUsize::new(0);
    let parts = thread::scope(|scope| {
        let work = || some(proc, &pids, &next);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let parts = workers.into_iter().map(|worker| worker.join());
        parts.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(merge(parts))
}

/// Looks at processes that no other worker looks at.
fn some(proc: &Path, pids: &[u32], next: &AtomicUsize) -> Result<Pass, Errno> {
    let mut pass = Pass::default();
    let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
    while let Some(&pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
        match pass.add(proc, pid, &mut entries) {
            Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(Errno::ACCESS | Errno::PERM) => pass.refuse(proc, pid),
            Err(error) => return Err(error),
        }
    }
    Ok(pass)
}

/// Puts the parts together, the processes in the order of their ids.
fn merge(parts: Vec<Pass>) -> Pass {
    let mut whole = Pass::default();
    for part in parts {
        let offset = u32::try_from(whole.processes.len()).unwrap_or(u32::MAX);
        whole.processes.extend(part.processes);
        whole.holders.extend(part.holders.into_iter().map(|(inode, index)| (inode, index + offset)));
        whole.namespaces.extend(part.namespaces);
        whole.refused.extend(part.refused);
        whole.refused_others |= part.refused_others;
    }
    let mut order: Vec<u32> = (0..).take(whole.processes.len()).collect();
    order.sort_unstable_by_key(|&index| whole.processes[index as usize].pid);
    let mut place = vec![0; order.len()];
    for (new, &old) in (0..).zip(&order) {
        place[old as usize] = new;
    }
    whole.processes.sort_unstable_by_key(|process| process.pid);
    for (_, index) in &mut whole.holders {
        *index = place[*index as usize];
    }
    whole.refused.sort_unstable();
    whole.holders.sort_unstable();
    whole.holders.dedup();
    whole
}

impl Pass {
    fn refuse(&mut self, proc: &Path, pid: u32) {
        self.refused.push(pid);
        // A process that may not be looked into has its directory as root's, whoever runs it (`task_dump_owner()`, `fs/proc/base.c`).
        let owner = fs::metadata(proc.join(pid.to_string()).join("fd")).map(|fd| fd.uid());
        self.refused_others |= owner.is_ok_and(|owner| owner != geteuid().as_raw());
    }

    fn add(&mut self, proc: &Path, pid: u32, entries: &mut [MaybeUninit<u8>]) -> Result<(), Errno> {
        let directory = living::directory(proc, pid);
        let namespace = directory.join("ns/net");
        let found = fs::metadata(&namespace).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        // Linux 5.10 leads who may not look at the process to the directory of the link instead of to an error.
        if !found.is_file() {
            return Err(Errno::ACCESS);
        }
        let inode = found.ino();
        let index = u32::try_from(self.processes.len()).map_err(|_| Errno::OVERFLOW)?;
        let before = self.holders.len();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fds = open(directory.join("fd"), flags, Mode::empty())?;
        let counted = self.descriptors(fds, index, entries).map(|(count, rings)| {
            let of_rings = rings.iter().flat_map(|fd| rings::sockets(&directory.join("fdinfo").join(fd.to_string())));
            self.holders.extend(of_rings.map(|inode| (inode, index)));
            count
        });
        if counted.is_err() {
            // It went away meanwhile: the next process takes its place.
            self.holders.truncate(before);
        }
        let descriptors = counted?;
        let matters = descriptors >= FEW || self.holders.len() > before;
        self.processes.push(FoundProcess {
            pid,
            comm: descriptors::comm(pid),
            descriptors,
            limit: if matters { descriptors::limit(pid) } else { None },
        });
        if let Ok(inode) = u32::try_from(inode) {
            self.namespaces.entry(inode).or_insert(namespace);
        }
        Ok(())
    }

    /// Notes the sockets of a process; the number of its descriptors, and which are rings of `io_uring`.
    fn descriptors(
        &mut self,
        fd: impl AsFd,
        index: u32,
        entries: &mut [MaybeUninit<u8>],
    ) -> Result<(u64, Vec<u32>), Errno> {
        let (mut count, mut rings) = (0, Vec::new());
        let mut directory = RawDir::new(fd.as_fd(), entries);
        while let Some(entry) = directory.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            count += 1;
            match named(&fd, name) {
                Some(Named::Socket(inode)) => self.holders.push((inode, index)),
                Some(Named::Ring) => rings.extend(number(name.to_bytes())),
                None => {}
            }
        }
        Ok((count, rings))
    }
}

/// A descriptor that matters.
enum Named {
    /// A socket, by its inode number.
    Socket(u32),
    /// One of `io_uring`.
    Ring,
}

/// What a link of `/proc/PID/fd` names.
fn named(directory: impl AsFd, name: &CStr) -> Option<Named> {
    let mut link = [MaybeUninit::uninit(); LINK];
    let (link, _) = readlinkat_raw(directory, name, &mut link).ok()?;
    if *link == *rings::LINK {
        return Some(Named::Ring);
    }
    number(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).map(Named::Socket)
}

fn number(digits: &[u8]) -> Option<u32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{
            fd::AsRawFd as _,
            unix::fs::{MetadataExt as _, symlink},
        },
    };

    use super::*;

    #[test]
    fn our_own_socket_is_found_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _copy = listener.try_clone().expect("a second descriptor");
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("our own descriptor");
        let pass = scan(Path::new("/proc")).expect("/proc");
        let own = pass.processes.iter().position(|process| process.pid == std::process::id()).expect("ourselves");
        let held: Vec<_> = pass
            .holders
            .iter()
            .filter(|&&(inode, index)| index as usize == own && link == Path::new(&format!("socket:[{inode}]")))
            .collect();
        assert_eq!(held.len(), 1);
        assert!(pass.holders.is_sorted());
        assert!(pass.processes[own].descriptors >= 5);
        let namespace = fs::metadata("/proc/self/ns/net").expect("our own namespace").ino();
        assert!(pass.namespaces.keys().any(|&inode| u64::from(inode) == namespace));
    }

    /// Its first thread has neither descriptors nor namespaces any more.
    #[test]
    fn a_process_lives_as_long_as_any_of_its_threads() -> io::Result<()> {
        let proc = tempfile::tempdir()?;
        let at = |path: &str| proc.path().join(path);
        for directory in ["4294967290/task/4294967290", "4294967290/task/4294967291", "4294967291/ns"] {
            fs::create_dir_all(at(directory))?;
        }
        fs::write(at("4294967291/ns/net"), "")?;
        symlink("/bin/server", at("4294967291/exe"))?;
        fs::create_dir(at("4294967291/fd"))?;
        symlink("socket:[77]", at("4294967291/fd/3"))?;
        let pass = some(proc.path(), &[4_294_967_290], &AtomicUsize::new(0))?;
        let [FoundProcess { pid: 4_294_967_290, descriptors: 1, .. }] = pass.processes[..] else {
            panic!("not found: {:?}", pass.processes)
        };
        assert_eq!(pass.holders, [(77, 0)]);
        assert_eq!(pass.namespaces.into_values().collect::<Vec<_>>(), [at("4294967291/ns/net")]);
        Ok(())
    }

    #[test]
    fn parts_are_put_together_in_the_order_of_ids() {
        let process = |pid| FoundProcess { pid, comm: None, descriptors: 1, limit: None };
        let part = |pids: [u32; 2], holders: &[(u32, u32)], inode: u32| Pass {
            processes: pids.map(process).to_vec(),
            holders: holders.to_vec(),
            namespaces: [(inode, PathBuf::from("/"))].into(),
            refused: vec![pids[0] + 1],
            refused_others: false,
        };
        let whole = merge(vec![part([30, 10], &[(7, 0), (8, 1), (8, 1)], 1), part([20, 40], &[(7, 0), (9, 1)], 2)]);
        assert_eq!(whole.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [10, 20, 30, 40]);
        assert_eq!(whole.holders, [(7, 1), (7, 2), (8, 0), (9, 3)]);
        assert!(whole.namespaces.keys().eq(&[1, 2]));
        assert_eq!(whole.refused, [21, 31]);
    }

    #[test]
    fn without_proc_there_is_no_answer() {
        assert!(scan(Path::new("/nonexistent")).is_err());
    }
}
