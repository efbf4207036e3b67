//! One pass over `/proc`: whose descriptors the sockets are, and which network namespaces there are.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    fs, io,
    mem::MaybeUninit,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, RawDir, open, readlinkat_raw},
    io::Errno,
};

use crate::{model::socket::FoundProcess, process::descriptors};

/// Enough for `socket:[4294967295]`; longer names are of other files.
const LINK: usize = 32;
/// Descriptors listed by one system call: about 1,300.
const ENTRIES: usize = 32 << 10;
/// A process with fewer descriptors and no socket is not asked for its limit.
const FEW: u64 = 64;

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) processes: Vec<FoundProcess>,
    /// Inode number of a socket and position of the process, ascending, without repetitions.
    pub(super) holders: Vec<(u32, u32)>,
    /// Network namespaces by inode number: where to open each, and the position of a process in it.
    pub(super) namespaces: BTreeMap<u32, (PathBuf, Option<u32>)>,
    /// Processes that were not ours to look at.
    pub(super) refused: u64,
}

/// Looks at every process; those that end meanwhile are passed over.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub(super) fn look(proc: &Path) -> io::Result<Pass> {
    let mut pass = Pass::default();
    let mut pids: Vec<u32> =
        fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
    for pid in pids {
        match pass.add(proc, pid, &mut entries) {
            Ok(()) => {}
            Err(Errno::ACCESS | Errno::PERM) => pass.refused += 1,
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    pass.holders.sort_unstable();
    pass.holders.dedup();
    Ok(pass)
}

impl Pass {
    fn add(&mut self, proc: &Path, pid: u32, entries: &mut [MaybeUninit<u8>]) -> Result<(), Errno> {
        let directory = proc.join(pid.to_string());
        let namespace = directory.join("ns/net");
        let inode = fs::metadata(&namespace).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?.ino();
        let index = u32::try_from(self.processes.len()).map_err(|_| Errno::OVERFLOW)?;
        let before = self.holders.len();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = self.descriptors(open(directory.join("fd"), flags, Mode::empty())?, index, entries)?;
        let matters = descriptors >= FEW || self.holders.len() > before;
        self.processes.push(FoundProcess {
            pid,
            comm: descriptors::comm(pid),
            descriptors,
            limit: if matters { descriptors::limit(pid) } else { None },
        });
        if let Ok(inode) = u32::try_from(inode) {
            self.namespaces.entry(inode).or_insert((namespace, Some(index)));
        }
        Ok(())
    }

    /// Notes the sockets of a process; the number of its descriptors.
    fn descriptors(&mut self, fd: impl AsFd, index: u32, entries: &mut [MaybeUninit<u8>]) -> Result<u64, Errno> {
        let mut count = 0;
        let mut directory = RawDir::new(fd.as_fd(), entries);
        while let Some(entry) = directory.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            count += 1;
            self.holders.extend(socket(&fd, name).map(|inode| (inode, index)));
        }
        Ok(count)
    }
}

/// Inode number of the socket that a link of `/proc/PID/fd` names.
fn socket(directory: impl AsFd, name: &CStr) -> Option<u32> {
    let mut link = [MaybeUninit::uninit(); LINK];
    let (link, _) = readlinkat_raw(directory, name, &mut link).ok()?;
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    };

    use super::*;

    #[test]
    fn our_own_socket_is_found_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _copy = listener.try_clone().expect("a second descriptor");
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("our own descriptor");
        let pass = look(Path::new("/proc")).expect("/proc");
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

    #[test]
    fn without_proc_there_is_no_answer() {
        assert!(look(Path::new("/nonexistent")).is_err());
    }
}
