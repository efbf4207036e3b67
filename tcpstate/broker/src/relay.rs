//! The tracer's part: what the worker needs goes to the broker, of the one process that the worker's task is about, and what comes back is
//! kept where it may be wanted again.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{MemfdFlags, memfd_create};
use tcpstate_common::leak::CodeRanges;
use tcpstate_wire::{Asked, MapState, Mappings, ModuleId, Need, Region, RegionKind, Request, Subject, Supply};

use crate::{
    process::code,
    vault::{Key, Vault},
};

/// How many programs are remembered, each with its paths.
const MOST_PROGRAMS: usize = 512;

/// Asks the broker.
pub trait AskBroker {
    /// What it answers, with files beside it.
    ///
    /// # Errors
    ///
    /// It cannot be asked any more.
    fn ask(&mut self, request: &Request) -> Result<(Supply, Vec<OwnedFd>), Lost>;
}

/// Nobody answers; with why, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// What is known of a process besides what the worker knows.
#[derive(Debug)]
pub struct Program {
    /// Which it is, as far as the broker knows.
    pub subject: Subject,
    /// The files whose code it maps, in its mount namespace: which runtime it is.
    pub mapped: Arc<[PathBuf]>,
    /// Where it has its code, for the kernel side.
    pub code: Option<CodeRanges>,
    /// Its perf map, as it was when it was asked for last.
    pub perf_map: Option<MapState>,
    mappings: Mappings,
    /// Held open once seen, so that names outlive the process.
    held: Option<OwnedFd>,
    wanted: u64,
}

impl Program {
    fn new(subject: Subject) -> Self {
        let (mapped, mappings) = (Arc::default(), Mappings::default());
        Self { subject, mapped, code: None, perf_map: None, mappings, held: None, wanted: 0 }
    }

    /// The first addresses of regions with code of files whose paths are ones of these.
    pub fn regions(&self, is_one: impl Fn(&Path) -> bool) -> impl Iterator<Item = u64> {
        let is_of_one = move |region: &&Region| match region.kind {
            RegionKind::File { path, .. } => self.mapped.get(path as usize).is_some_and(|path| is_one(path)),
            RegionKind::Vdso | RegionKind::Anonymous => false,
        };
        self.mappings.regions.iter().filter(is_of_one).map(|region| region.start)
    }
}

/// Passes on what the worker needs.
#[derive(Debug, Default)]
pub struct Relay {
    /// The files that were opened.
    pub vault: Vault,
    programs: HashMap<u32, Program>,
    requests: u64,
}

impl Relay {
    /// What is known of a process, if it was asked about: not of an earlier or a later one with its number.
    #[must_use]
    pub fn program(&self, subject: Subject) -> Option<&Program> {
        self.programs.get(&subject.pid).filter(|program| program.subject.may_be(&subject))
    }

    /// Gets what the worker needs of a process.
    ///
    /// # Errors
    ///
    /// The broker cannot be asked any more.
    pub fn supply(
        &mut self,
        subject: Subject,
        need: Need,
        broker: &mut impl AskBroker,
    ) -> Result<(Supply, Vec<OwnedFd>), Lost> {
        let mut ask = |subject, path: &Path, need: Need| {
            let path = path.as_os_str().as_bytes().to_vec();
            broker.ask(&Request { subject, path, asked: Asked::Need(need) })
        };
        match need {
            Need::Mappings => {
                let (supply, _) = ask(subject, Path::new(""), Need::Mappings)?;
                let Supply::Mappings(mut mappings) = supply else { return Ok((supply, Vec::new())) };
                self.remember(subject.pid, mappings.clone());
                // They are of no use to the worker.
                mappings.paths.clear();
                Ok((Supply::Mappings(mappings), Vec::new()))
            }
            Need::Mapped { start, end } => {
                let (supply, files) = ask(subject, Path::new(""), need)?;
                Ok(self.mapped(subject, start, end, supply, files))
            }
            Need::Module(module) => {
                if self.vault.file(module).is_none()
                    && let Some(entry) = self.vault.get(module)
                {
                    // It was closed to make room; the process that mapped it may still do so.
                    let (from, start, end) = entry.from;
                    let (supply, files) = ask(from, Path::new(""), Need::Mapped { start, end })?;
                    if let (Supply::Module { file, .. }, Some(opened)) = (supply, files.into_iter().next()) {
                        self.vault.reopened(module, file, opened);
                    }
                }
                Ok(match self.vault.file(module).map(|(id, file)| Ok::<_, io::Error>((id, file.try_clone()?))) {
                    Some(Ok((file, open))) => (Supply::Module { file, module: Some(module) }, vec![open]),
                    Some(Err(error)) => (refused(module, &error.to_string()), Vec::new()),
                    None => (refused(module, "it is not open any more"), Vec::new()),
                })
            }
            Need::DebugFile { module, ref wanted } => {
                if self.vault.debug_files(module, wanted).is_none()
                    && let Some(entry) = self.vault.get(module)
                {
                    let (from, path) = (entry.from.0, Arc::clone(&entry.path));
                    let (_, files) = ask(from, &path, need.clone())?;
                    self.vault.keep_debug_files(module, wanted, files);
                }
                let known = self.vault.debug_files(module, wanted).unwrap_or_default();
                Ok((Supply::DebugFiles, known.iter().filter_map(|file| file.try_clone().ok()).collect()))
            }
            Need::PerfMap { generation } => {
                let (supply, files) = ask(subject, Path::new(""), need)?;
                Ok(if generation == 0 { self.perf_map(subject, supply, files) } else { (supply, files) })
            }
            Need::IsCurrent { .. } | Need::Memory { .. } | Need::IsShared { .. } => ask(subject, Path::new(""), need),
        }
    }

    fn remember(&mut self, pid: u32, mappings: Mappings) {
        self.requests += 1;
        if self.programs.len() >= MOST_PROGRAMS
            && !self.programs.contains_key(&pid)
            && let Some((&oldest, _)) = self.programs.iter().min_by_key(|(_, program)| program.wanted)
        {
            self.programs.remove(&oldest);
        }
        let subject = Subject { pid, start_stack: mappings.start_stack, began: mappings.began };
        let program = self.programs.entry(pid).or_insert_with(|| Program::new(subject));
        if program.subject != subject {
            *program = Program::new(subject);
        }
        program.wanted = self.requests;
        program.mapped = mappings.paths.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
        program.code = Some(code::ranges(mappings.regions.iter().map(|region| (region.start, region.end))));
        program.mappings = mappings;
    }

    /// Gives what was opened, or could not be, its number.
    fn mapped(
        &mut self,
        subject: Subject,
        start: u64,
        end: u64,
        supply: Supply,
        files: Vec<OwnedFd>,
    ) -> (Supply, Vec<OwnedFd>) {
        let program = self.program(subject);
        let is_it = |region: &&Region| region.start == start;
        let kind = program.and_then(|program| Some(program.mappings.regions.iter().find(is_it)?.kind));
        let (path, inode) = match (program, kind) {
            (Some(program), Some(RegionKind::File { path, device, inode })) => {
                (program.mappings.paths.get(path as usize).map_or(&b"?"[..], |path| path), Some((device, inode)))
            }
            (_, Some(RegionKind::Vdso)) => (&b"[vdso]"[..], None),
            _ => (&b"?"[..], None),
        };
        let path: Arc<Path> = Path::new(OsStr::from_bytes(path)).into();
        let from = (program.map_or(subject, |program| program.subject), start, end);
        match (supply, files.into_iter().next()) {
            (Supply::Module { file, .. }, Some(open)) => self.number(Key::File(file), &path, from, Ok(open)),
            // The same in every process of one kind.
            (Supply::Memory(image), _) => {
                let open = vdso(&image);
                self.number(Key::Vdso(image), &path, from, open)
            }
            (Supply::Refused { why, .. }, _) => self.unreadable(inode, path, from, &why),
            (Supply::Gone | Supply::Replaced, _) => self.unreadable(inode, path, from, "its process has ended"),
            (other, _) => (other, Vec::new()),
        }
    }

    /// What cannot be read, with its number.
    fn unreadable(
        &mut self,
        inode: Option<((u32, u32), u64)>,
        path: Arc<Path>,
        from: (Subject, u64, u64),
        why: &str,
    ) -> (Supply, Vec<OwnedFd>) {
        let module = self.vault.number(Key::Unreadable(inode, Arc::clone(&path)), &path, from, None);
        self.vault.give_up(module, why);
        (refused(module, why), Vec::new())
    }

    /// What was opened, with its number.
    fn number(
        &mut self,
        key: Key,
        path: &Path,
        from: (Subject, u64, u64),
        open: io::Result<OwnedFd>,
    ) -> (Supply, Vec<OwnedFd>) {
        let file = key.file();
        match open.and_then(|open| Ok((open.try_clone()?, open))) {
            Ok((beside, open)) => {
                let module = self.vault.number(key, path, from, Some(open));
                (Supply::Module { file, module: Some(module) }, vec![beside])
            }
            Err(error) => (refused(self.vault.number(key, path, from, None), &error.to_string()), Vec::new()),
        }
    }

    fn perf_map(&mut self, subject: Subject, supply: Supply, files: Vec<OwnedFd>) -> (Supply, Vec<OwnedFd>) {
        let program = self.programs.get_mut(&subject.pid).filter(|program| program.subject.may_be(&subject));
        let Some(program) = program else { return (supply, files) };
        if let (Supply::PerfMap(state @ MapState::There { .. }), Some(file)) = (&supply, files.first()) {
            program.held = file.try_clone().ok();
            program.perf_map = Some(state.clone());
            return (supply, files);
        }
        // The process may have ended.
        if let (Some(held), Some(state @ MapState::There { .. })) = (&program.held, &program.perf_map)
            && let Ok(held) = held.try_clone()
        {
            return (Supply::PerfMap(state.clone()), vec![held]);
        }
        if let Supply::PerfMap(state) = &supply {
            program.perf_map = Some(state.clone());
        }
        (supply, files)
    }
}

fn refused(module: ModuleId, why: &str) -> Supply {
    Supply::Refused { module: Some(module), why: why.to_owned() }
}

/// The kernel's code in user space, which is no file until it is made one here.
fn vdso(image: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC)?);
    file.write_all(image)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::Command,
        thread::sleep,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{Broker, process::program};

    /// A broker in this process.
    struct Here(Broker);

    impl AskBroker for Here {
        fn ask(&mut self, request: &Request) -> Result<(Supply, Vec<OwnedFd>), Lost> {
            Ok(self.0.answer(request))
        }
    }

    #[test]
    fn one_file_has_one_number() {
        let mut relay = Relay::default();
        let mut broker = Here(Broker::default());
        let subject = Subject::numbered(std::process::id());
        let (supply, _) = relay.supply(subject, Need::Mappings, &mut broker).expect("an answer");
        let Supply::Mappings(mappings) = supply else { panic!("no mappings: {supply:?}") };
        assert!(mappings.paths.is_empty() && !mappings.regions.is_empty(), "{mappings:?}");
        let region = mappings.regions.iter().find(|region| matches!(region.kind, RegionKind::File { .. }));
        let region = region.expect("own code");
        let need = Need::Mapped { start: region.start, end: region.end };
        let mut number = || match relay.supply(subject, need.clone(), &mut broker).expect("an answer") {
            (Supply::Module { module: Some(module), .. }, files) if files.len() == 1 => module,
            other => panic!("no file: {other:?}"),
        };
        let module = number();
        assert_eq!(number(), module);
        let (supply, files) = relay.supply(subject, Need::Module(module), &mut broker).expect("an answer");
        assert!(matches!(supply, Supply::Module { module: Some(again), .. } if again == module) && files.len() == 1);
        assert!(relay.program(subject).is_some_and(|program| !program.mapped.is_empty() && program.code.is_some()));
    }

    /// Neither what it can still be given itself, nor what is kept of it.
    #[test]
    fn another_process_with_its_number_gets_nothing_of_it() {
        let mut relay = Relay::default();
        let mut broker = Here(Broker::default());
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        let path = format!("/tmp/perf-{}.map", child.id());
        fs::write(&path, "1000 10 f\n").expect("disk");
        let subject = Subject::numbered(child.id());
        // The parent goes on before that is known.
        let soon = Instant::now() + Duration::from_secs(10);
        while program::start_stack(child.id()).is_none() && Instant::now() < soon {
            sleep(Duration::from_millis(1));
        }
        let mut supply = |subject, need| relay.supply(subject, need, &mut broker).expect("an answer");
        let (Supply::Mappings(Mappings { start_stack, began, .. }), _) = supply(subject, Need::Mappings) else {
            panic!("no mappings")
        };
        let known = Subject { start_stack, began, ..subject };
        assert!(start_stack.is_some() && began.is_some(), "{known:?}");
        let others = [
            Subject { began: began.map(|began| began - 1), ..known },
            Subject { start_stack: start_stack.map(|start| start ^ 16), ..known },
        ];
        let map = || Need::PerfMap { generation: 0 };
        let needs = [Need::Mappings, map(), Need::PerfMap { generation: 1 }, Need::Memory { address: 0, length: 8 }];
        for (&other, need) in others.iter().flat_map(|other| needs.iter().map(move |need| (other, need))) {
            let (answer, files) = supply(other, need.clone());
            let nothing = matches!(answer, Supply::Replaced | Supply::PerfMap(MapState::None));
            assert!(nothing && files.is_empty(), "{other:?}: {need:?}: {answer:?}");
        }
        let has_map = |answer: (Supply, Vec<OwnedFd>)| {
            matches!(answer.0, Supply::PerfMap(MapState::There { .. })) && answer.1.len() == 1
        };
        let while_it_lives = has_map(supply(known, map()));
        child.kill().and_then(|()| child.wait()).expect("it ends");
        fs::remove_file(&path).expect("there");
        assert!(while_it_lives && has_map(supply(known, map())), "what it wrote is kept");
        assert!(others.iter().all(|&other| !has_map(supply(other, map()))));
        assert!(relay.program(known).is_some() && others.iter().all(|&other| relay.program(other).is_none()));
    }

    #[test]
    fn what_is_not_mapped_is_not_opened() {
        let mut relay = Relay::default();
        let mut broker = Here(Broker::default());
        let subject = Subject::numbered(std::process::id());
        let (supply, files) =
            relay.supply(subject, Need::Mapped { start: 4096, end: 8192 }, &mut broker).expect("an answer");
        assert!(matches!(supply, Supply::Refused { .. }) && files.is_empty(), "{supply:?}");
    }
}
