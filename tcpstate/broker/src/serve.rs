//! The broker: what is asked, and what it answers.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt as _},
    },
    path::Path,
};

use rustix::fs::{fstat, major, minor};
use tcpstate_wire::{
    Asked, FileVersion, MapState, Need, Region, RegionKind, Request, Subject, Supply,
    channel::{Channel, ChannelError},
};

use crate::{
    debug_files,
    process::{
        epoll, files,
        perf_map::{self, PerfMapError},
        shared_page, start,
    },
    subjects::{Known, Subjects},
};

/// Most bytes of the kernel's code in user space.
const MOST_VDSO: u64 = 64 << 10;

/// Answers requests until nobody asks any more.
///
/// # Errors
///
/// What came is no request, or the system refuses.
pub fn serve(channel: &Channel) -> Result<(), ChannelError> {
    let mut broker = Broker::default();
    loop {
        let request = match channel.receive::<Request>(None) {
            Ok((request, _)) => request,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (supply, files) = broker.answer(&request);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        channel.send(&supply, &files, None)?;
    }
}

/// Reads what belongs to other processes.
#[derive(Debug, Default)]
pub struct Broker {
    subjects: Subjects,
}

impl Broker {
    /// Answers one request.
    pub fn answer(&mut self, request: &Request) -> (Supply, Vec<OwnedFd>) {
        match self.supply(request) {
            Ok((supply, files)) => (supply, files.into_iter().map(OwnedFd::from).collect()),
            Err(refusal) => (refusal, Vec::new()),
        }
    }

    fn supply(&mut self, request: &Request) -> Result<(Supply, Vec<File>), Supply> {
        let subject = request.subject;
        let alone = |supply| Ok((supply, Vec::new()));
        let need = match &request.asked {
            Asked::Need(need) => need,
            Asked::Waker { sockets } => return alone(Supply::Waker(epoll::waker(subject.pid, sockets))),
        };
        match need {
            Need::Mappings => {
                let known = self.subjects.get(subject)?;
                if known.refresh() { alone(Supply::Mappings(known.mappings.clone())) } else { Err(Supply::Gone) }
            }
            &Need::IsCurrent { memory } => {
                let known = self.subjects.get(subject)?;
                alone(Supply::Is(known.mappings.memory == memory && known.is_current()))
            }
            &Need::Mapped { start, end } => mapped(subject, self.subjects.get(subject)?, start, end),
            &Need::Memory { address, length } => {
                let length = length.min(Need::MOST_MEMORY) as usize;
                alone(Supply::Memory(self.subjects.get(subject)?.memory(address, length)))
            }
            Need::DebugFile { wanted, .. } => {
                // Where another process has its number by now, or none, only what the tracer itself sees is left.
                let pid = self.current(subject).map(|()| subject.pid);
                let module = Path::new(OsStr::from_bytes(&request.path));
                Ok((Supply::DebugFiles, debug_files::find(pid, module, wanted)))
            }
            &Need::PerfMap { generation } => self.perf_map(subject, generation),
            &Need::IsShared { generation, address } => {
                self.current(subject).ok_or(Supply::Is(false))?;
                let ancestor = ancestor(subject.pid, generation).ok_or(Supply::Is(false))?;
                alone(Supply::Is(shared_page::is_shared(subject.pid, ancestor, address)))
            }
            // That is for the tracer to answer.
            Need::Module(_) => Err(refused("nobody knows of it")),
        }
    }

    /// Whether the process has its number still, and executes the same program.
    fn current(&mut self, subject: Subject) -> Option<()> {
        self.subjects.get(subject).ok()?.is_current().then_some(())
    }

    fn perf_map(&mut self, subject: Subject, generation: u8) -> Result<(Supply, Vec<File>), Supply> {
        const NONE: Supply = Supply::PerfMap(MapState::None);
        let (pid, began) = if generation == 0 {
            (subject.pid, self.subjects.get(subject).map_err(|_| NONE)?.subject.began)
        } else {
            self.current(subject).ok_or(NONE)?;
            let pid = ancestor(subject.pid, generation).ok_or(NONE)?;
            (pid, start::ticks(pid))
        };
        match perf_map::open(pid, began) {
            Ok(file) => Ok((Supply::PerfMap(MapState::There { pid, began }), vec![file])),
            Err(PerfMapError::None) => Err(NONE),
            Err(PerfMapError::Unfit(why)) => Err(Supply::PerfMap(MapState::Unfit(why))),
        }
    }
}

fn refused(why: impl ToString) -> Supply {
    Supply::Refused { module: None, why: why.to_string() }
}

/// The process that forked another one, and the one that forked that, as long as all live.
fn ancestor(pid: u32, generation: u8) -> Option<u32> {
    (0..generation.min(Need::GENERATIONS)).try_fold(pid, |pid, _| perf_map::parent(pid))
}

/// Opens what is mapped where the process has code: nothing else.
fn mapped(subject: Subject, known: &Known, start: u64, end: u64) -> Result<(Supply, Vec<File>), Supply> {
    let is_it = |region: &&Region| (region.start, region.end) == (start, end);
    let region = known.mappings.regions.iter().find(is_it).ok_or_else(|| refused("nothing is mapped there"))?;
    let file = match region.kind {
        RegionKind::File { inode, device, path } => {
            let path = known.mappings.paths.get(path as usize).map_or(&[][..], |path| path);
            open_file(subject.pid, known, start..end, (device, inode), Path::new(OsStr::from_bytes(path)))
        }
        RegionKind::Vdso => {
            let image = known.memory(start, (end - start).min(MOST_VDSO) as usize);
            return Ok((Supply::Memory(image), Vec::new()));
        }
        RegionKind::Anonymous => return Err(refused("no file is mapped there")),
    };
    let file = file.and_then(|file| Ok((id(&file)?, file)));
    let (id, file) = file.map_err(refused)?;
    Ok((Supply::Module { file: id, module: None }, vec![file]))
}

fn id(file: &File) -> io::Result<FileVersion> {
    let metadata = file.metadata()?;
    Ok(FileVersion {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// The mapping's own link is right whatever became of the path, but needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`.
/// Without, the path is tried, and must lead to the inode that is mapped. Of a process that has ended meanwhile it may still lead
/// there from our own root.
fn open_file(
    pid: u32,
    known: &Known,
    addresses: Range<u64>,
    mapped: ((u32, u32), u64),
    path: &Path,
) -> io::Result<File> {
    let same = |file: File| -> io::Result<Option<File>> {
        let stat = fstat(&file)?;
        let found = ((major(stat.st_dev), minor(stat.st_dev)), stat.st_ino);
        Ok((found == mapped).then_some(file))
    };
    let link = files::open_mapped(pid, addresses.start, addresses.end);
    // Asked last, it holds of what was opened before.
    let link = link.and_then(|file| if known.is_current() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) });
    link.or_else(|of_link| {
        let by_path = files::open_in_root(pid, path).or_else(|error| files::open_here(path).map_err(|_| error));
        match by_path {
            Ok(file) => same(file)?.ok_or(of_link),
            // Only the link would have led there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(of_link),
            Err(error) => Err(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What is mapped at the same addresses by whoever has its number now is not what it mapped.
    #[test]
    fn files_of_what_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        let ended = File::open(format!("/proc/{}/mem", child.id())).expect("ours");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        let subject = Subject::numbered(std::process::id());
        let mut known = Known::read(subject.pid, 1).expect("own process");
        let is_file = |region: &&mut Region| matches!(region.kind, RegionKind::File { .. });
        let region = known.mappings.regions.iter_mut().find(is_file).expect("own code");
        let (start, end) = (region.start, region.end);
        assert!(mapped(subject, &known, start, end).is_ok());
        known.memory = Some(ended);
        assert!(mapped(subject, &known, start, end).is_ok(), "the path leads to the same inode");
        if let Some(Region { kind: RegionKind::File { inode, .. }, .. }) =
            known.mappings.regions.iter_mut().find(|region| region.start == start)
        {
            *inode += 1;
        }
        assert!(matches!(mapped(subject, &known, start, end), Err(Supply::Refused { .. })));
    }
}
