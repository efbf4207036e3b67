//! The code that one process can execute: which file each address belongs to.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{fstat, major, minor};

use super::{
    debug_file,
    image::ImageError,
    module::{Module, Modules},
    unwound::Backing,
};
use crate::{
    arch::{self, Ending},
    process::{ProcessError, files, maps, maps::Mapping, perf_map::PerfMapFile, program, stack, thread},
};

/// Where the kernel's code in user space is at most as large as this, bytes.
const MAX_VDSO: u64 = 64 * 1024;

/// How many processes are remembered. Each holds a file open.
const MAX_PROCESSES: usize = 128;

/// How many addresses of code made at run time are remembered for a process.
const MAX_ENDINGS: usize = 4096;

/// The processes that were seen lately.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    /// With the number of the request that asked for it last.
    known: HashMap<u32, (Space, u64)>,
    requests: u64,
}

impl Spaces {
    /// What process `pid` can execute: as it is now or, when it has ended, as it was when it was last seen. With `start_stack`, what it
    /// could when it executed that program.
    pub(super) fn get(&mut self, pid: u32, start_stack: Option<u64>) -> Result<&mut Space, Unknown> {
        self.requests += 1;
        let is_known = |space: &Space| start_stack.is_some() && space.start_stack == start_stack || space.is_current();
        if !self.known.get(&pid).is_some_and(|(space, _)| is_known(space)) {
            match Space::load(pid) {
                Ok(space) => {
                    if self.known.len() >= MAX_PROCESSES
                        && let Some((&oldest, _)) = self.known.iter().min_by_key(|(_, (_, asked))| *asked)
                    {
                        self.known.remove(&oldest);
                    }
                    self.known.insert(pid, (space, self.requests));
                }
                Err(error) if !self.known.contains_key(&pid) => return Err(Unknown::Process(error)),
                Err(_) => {}
            }
        }
        let (space, asked) = self.known.get_mut(&pid).ok_or(Unknown::Process(ProcessError::Gone(pid)))?;
        *asked = self.requests;
        if start_stack.is_some() && space.start_stack.is_some() && space.start_stack != start_stack {
            return Err(Unknown::Replaced);
        }
        Ok(space)
    }
}

/// Why it is not known what a process could execute.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It executes another program by now.
    Replaced,
    /// It cannot be looked into.
    Process(ProcessError),
}

/// What is mapped where in one process, as far as it is code.
#[derive(Debug)]
pub(super) struct Space {
    pid: u32,
    /// Tells the program from others that the process executes.
    start_stack: Option<u64>,
    /// `/proc/TID/mem`: bound to the memory that the process had when it was opened, not to its pid.
    memory: Option<File>,
    /// By address.
    regions: Vec<Region>,
    /// The files of `regions`.
    mapped: Arc<[PathBuf]>,
    perf_map: Arc<PerfMapFile>,
    /// How functions end that go on at these addresses, with the code that was there: a runtime may put other code there.
    endings: HashMap<u64, (Mark, Option<Ending>)>,
}

/// What code is known again by.
type Mark = [u8; 32];

#[derive(Debug)]
struct Region {
    mapping: Mapping<'static>,
    /// `None`: not looked at yet.
    code: Option<RegionCode>,
}

#[derive(Clone, Debug)]
enum RegionCode {
    /// With what to subtract from an address for it to become one of the file.
    Module(Arc<Module>, u64),
    /// A file that cannot be read, and why.
    Unreadable(Arc<Path>, Arc<str>),
    /// Made at run time: code without a file, or in a file that is no ELF file.
    Jit,
}

impl Space {
    /// Reads the mappings of a living process; opens none of its files yet.
    pub(super) fn load(pid: u32) -> Result<Self, ProcessError> {
        let memory = File::open(thread::file(pid, "mem")).ok();
        let regions = regions(pid)?;
        Ok(Self {
            pid,
            start_stack: program::start_stack(pid),
            memory,
            mapped: mapped(&regions),
            regions,
            perf_map: Arc::new(PerfMapFile::new(pid)),
            endings: HashMap::new(),
        })
    }

    pub(super) fn perf_map(&self) -> &Arc<PerfMapFile> {
        &self.perf_map
    }

    /// The files whose code is mapped.
    pub(super) fn mapped(&self) -> &Arc<[PathBuf]> {
        &self.mapped
    }

    /// Whether the process still has the memory whose mappings these are: it neither ended nor executed another program.
    pub(super) fn is_current(&self) -> bool {
        // `mem_rw()`, `fs/proc/base.c`, Linux 6.18: 0 bytes when the memory is gone, EIO when only the address is wrong.
        !matches!(self.memory.as_ref().map(|memory| memory.read_at(&mut [0], 4096)), Some(Ok(0)))
    }

    /// How the function gives back its frame that goes on at `ip`. Read from the process; as it was read, when that has ended.
    pub(super) fn ending(&mut self, ip: u64) -> Option<Ending> {
        let memory = self.memory.as_ref()?;
        let mut mark = Mark::default();
        let is_there = memory.read_exact_at(&mut mark, ip).is_ok();
        if let Some((known, ending)) = self.endings.get(&ip)
            && (!is_there || *known == mark)
        {
            return *ending;
        }
        let ending = arch::ending(ip, |address| {
            let mut code = vec![0; arch::CODE_PIECE];
            let length = memory.read_at(&mut code, address).ok()?;
            code.truncate(length);
            Some(code)
        });
        if is_there {
            if self.endings.len() >= MAX_ENDINGS {
                self.endings.clear();
            }
            self.endings.insert(ip, (mark, ending));
        }
        ending
    }

    /// A word of the memory of the process, while that lasts.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.memory.as_ref()?.read_exact_at(&mut word, address).ok()?;
        Some(u64::from_le_bytes(word))
    }

    /// Reads the mappings again: something was mapped since. Nothing changes when they cannot be read, or are those of another
    /// program.
    pub(super) fn refresh(&mut self) {
        if !self.is_current() {
            return;
        }
        let Ok(mut fresh) = regions(self.pid) else { return };
        for region in &mut fresh {
            if let Ok(known) = self.regions.binary_search_by_key(&region.mapping.start, |known| known.mapping.start)
                && self.regions[known].mapping == region.mapping
            {
                region.code = self.regions[known].code.take();
            }
        }
        self.mapped = mapped(&fresh);
        self.regions = fresh;
    }

    /// The code at `address`, read from its file if that was not done yet. `None`: there is none.
    pub(super) fn find(&mut self, address: u64, modules: &mut Modules) -> Option<Backing> {
        let after = self.regions.partition_point(|region| region.mapping.start <= address);
        let Region { mapping, code } = &mut self.regions[after.checked_sub(1)?];
        if address >= mapping.end {
            return None;
        }
        let code = code.get_or_insert_with(|| {
            let code = open(self.pid, mapping, modules);
            if matches!(code, RegionCode::Jit) {
                self.perf_map.hold();
            }
            code
        });
        Some(match code {
            RegionCode::Module(module, bias) => {
                Backing::Module { module: Arc::clone(module), address: address.wrapping_sub(*bias) }
            }
            RegionCode::Unreadable(path, why) => Backing::Unreadable {
                path: Arc::clone(path),
                offset: address - mapping.start + mapping.offset,
                why: Arc::clone(why),
            },
            RegionCode::Jit => Backing::Jit,
        })
    }
}

fn regions(pid: u32) -> Result<Vec<Region>, ProcessError> {
    let text = maps::read(pid)?;
    let executable = maps::parse(&text).filter(|mapping| mapping.executable);
    Ok(executable.map(|mapping| Region { mapping: mapping.into_owned(), code: None }).collect())
}

fn mapped(regions: &[Region]) -> Arc<[PathBuf]> {
    let mut paths: Vec<_> = regions.iter().filter_map(|region| Some(region.mapping.file()?.path.to_owned())).collect();
    paths.dedup();
    paths.into()
}

fn open(pid: u32, mapping: &Mapping<'_>, modules: &mut Modules) -> RegionCode {
    let (path, module) = match mapping.file() {
        Some(mapped) => {
            let module = open_file(pid, mapping, mapped.path).map_err(ImageError::Io);
            let find_debug_file = |build_id: &[u8]| debug_file::find(pid, build_id);
            (mapped.path, module.and_then(|file| modules.get(mapped.path, file, find_debug_file)))
        }
        None if mapping.is_vdso() => {
            (Path::new("[vdso]"), read_vdso(pid, mapping).and_then(|image| modules.vdso(image)))
        }
        None => return RegionCode::Jit,
    };
    let unreadable = |why: &str| RegionCode::Unreadable(path.into(), why.into());
    match module {
        Ok(module) => match module.bias(mapping.start, mapping.end, mapping.offset) {
            Some(bias) => RegionCode::Module(module, bias),
            None => unreadable("no segment of it belongs there"),
        },
        Err(ImageError::NotElf) => RegionCode::Jit,
        Err(error) => {
            tracing::debug!(pid, path = ?path, %error, "failed to read a mapped file");
            unreadable(&error.to_string())
        }
    }
}

/// The mapping's own link is right whatever became of the path, but needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`.
/// Without, the path is tried, and must lead to the inode that is mapped. Of a process that has ended meanwhile it may still lead
/// there from our own root.
fn open_file(pid: u32, mapping: &Mapping<'_>, path: &Path) -> io::Result<File> {
    let same = |file: File| -> io::Result<Option<File>> {
        let stat = fstat(&file)?;
        let found = ((major(stat.st_dev), minor(stat.st_dev)), stat.st_ino);
        Ok((found == (mapping.device, mapping.inode)).then_some(file))
    };
    files::open_mapped(pid, mapping.start, mapping.end).or_else(|of_link| {
        let by_path = files::open_in_root(pid, path).or_else(|error| files::open_here(path).map_err(|_| error));
        match by_path {
            Ok(file) => same(file)?.ok_or(of_link),
            // Only the link would have led there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(of_link),
            Err(error) => Err(error),
        }
    })
}

fn read_vdso(pid: u32, mapping: &Mapping<'_>) -> Result<Vec<u8>, ImageError> {
    let size = (mapping.end - mapping.start).min(MAX_VDSO) as usize;
    let mut image = Vec::new();
    stack::read_stack(pid, mapping.start, size, &mut image).map_err(io::Error::other)?;
    Ok(image)
}
