//! The code that one process can execute: which module each address belongs to.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tcpstate_wire::{Backing, Mappings, ModuleId, Need, Region, RegionKind, Supply, Truncation};

use super::{image::ImageError, modules::Modules};
use crate::{
    arch::{self, Ending},
    supplier::{Supplier, memory},
};

/// How many processes are remembered.
const MOST_PROCESSES: usize = 128;
/// How many addresses of code made at run time are remembered for a process.
const MOST_ENDINGS: usize = 4096;
/// Mappings are read again at most in this part of the time: a process may have tens of thousands, and stacks that lead nowhere.
const REFRESH_PART: u32 = 20;

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
    pub(super) fn get(
        &mut self,
        pid: u32,
        start_stack: Option<u64>,
        supplier: &mut dyn Supplier,
    ) -> Result<&mut Space, Truncation> {
        self.requests += 1;
        let mut is_known = |space: &Space| {
            start_stack.is_some() && space.start_stack == start_stack
                || supplier.supply(Need::IsCurrent { memory: space.memory }).0 == Supply::Is(true)
        };
        if !self.known.get(&pid).is_some_and(|(space, _)| is_known(space)) {
            match Space::load(supplier) {
                Ok(space) => {
                    if self.known.len() >= MOST_PROCESSES
                        && let Some((&oldest, _)) = self.known.iter().min_by_key(|(_, (_, asked))| *asked)
                    {
                        self.known.remove(&oldest);
                    }
                    self.known.insert(pid, (space, self.requests));
                }
                Err(error) if !self.known.contains_key(&pid) => return Err(error),
                Err(_) => {}
            }
        }
        let (space, asked) = self.known.get_mut(&pid).ok_or(Truncation::ProcessGone)?;
        *asked = self.requests;
        if start_stack.is_some() && space.start_stack.is_some() && space.start_stack != start_stack {
            return Err(Truncation::ProgramGone);
        }
        Ok(space)
    }
}

/// What is mapped where in one process, as far as it is code.
#[derive(Debug)]
pub(super) struct Space {
    /// The broker's name for the memory that this is of.
    memory: u64,
    /// Tells the program from others that the process executes.
    start_stack: Option<u64>,
    /// By address, with what was found out of it.
    regions: Vec<(Region, Option<RegionCode>)>,
    /// Whether these are all.
    complete: bool,
    /// When they were read, and how long that took.
    read: (Instant, Duration),
    /// Whether its perf map was asked for, which it may write as soon as it makes code.
    has_jit: bool,
    /// How functions end that go on at these addresses, with the code that was there: a runtime may put other code there.
    endings: HashMap<u64, (Mark, Option<Ending>)>,
}

/// What code is known again by.
type Mark = [u8; 32];

#[derive(Clone, Copy, Debug)]
enum RegionCode {
    /// With what to subtract from an address for it to become one of the file.
    Module(ModuleId, u64),
    /// A file that cannot be read.
    Unreadable(ModuleId),
    /// Made at run time: code without a file, or in a file that is no ELF file.
    Jit,
}

impl Space {
    /// Asks for the mappings of a living process; for none of its files yet.
    fn load(supplier: &mut dyn Supplier) -> Result<Self, Truncation> {
        let began = Instant::now();
        let Mappings { memory, start_stack, regions, complete, .. } = match supplier.supply(Need::Mappings).0 {
            Supply::Mappings(mappings) => mappings,
            Supply::Replaced => return Err(Truncation::ProgramGone),
            Supply::Refused { why, .. } => return Err(Truncation::NoMappings(why)),
            _ => return Err(Truncation::ProcessGone),
        };
        Ok(Self {
            memory,
            start_stack,
            regions: regions.into_iter().map(|region| (region, None)).collect(),
            complete,
            read: (began, began.elapsed()),
            has_jit: false,
            endings: HashMap::new(),
        })
    }

    /// The broker's name for the memory that this is of.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Whether all mappings are known.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How the function gives back its frame that goes on at `ip`. Read from the process; as it was read, when that has ended.
    pub(super) fn ending(&mut self, ip: u64, supplier: &mut dyn Supplier) -> Option<Ending> {
        let mark: Option<Mark> = memory(supplier, ip, size_of::<Mark>() as u32).try_into().ok();
        if let Some((known, ending)) = self.endings.get(&ip)
            && mark.is_none_or(|mark| *known == mark)
        {
            return *ending;
        }
        let ending = arch::ending(ip, |address| {
            Some(memory(supplier, address, arch::CODE_PIECE as u32)).filter(|code| !code.is_empty())
        });
        if let Some(mark) = mark {
            if self.endings.len() >= MOST_ENDINGS {
                self.endings.clear();
            }
            self.endings.insert(ip, (mark, ending));
        }
        ending
    }

    /// Asks for the mappings again: something was mapped since. Nothing changes when they cannot be had, or are those of another
    /// program.
    pub(super) fn refresh(&mut self, supplier: &mut dyn Supplier) {
        let (last, took) = self.read;
        if last.elapsed() < took * REFRESH_PART {
            return;
        }
        let Ok(fresh) = Self::load(supplier) else { return };
        if fresh.memory != self.memory {
            return;
        }
        let mut regions = fresh.regions;
        for (region, code) in &mut regions {
            if let Ok(known) = self.regions.binary_search_by_key(&region.start, |(known, _)| known.start)
                && self.regions[known].0 == *region
            {
                *code = self.regions[known].1;
            }
        }
        (self.regions, self.complete, self.read) = (regions, fresh.complete, fresh.read);
    }

    /// The code at `address`; its file is asked for if that was not done yet. `None`: there is none.
    pub(super) fn find(&mut self, address: u64, modules: &mut Modules, supplier: &mut dyn Supplier) -> Option<Backing> {
        let after = self.regions.partition_point(|(region, _)| region.start <= address);
        let (region, code) = &mut self.regions[after.checked_sub(1)?];
        if address >= region.end {
            return None;
        }
        let code = match *code {
            Some(code) => code,
            None => *code.insert(open(region, modules, supplier)?),
        };
        if matches!(code, RegionCode::Jit) && !std::mem::replace(&mut self.has_jit, true) {
            // While the process lives; it is kept.
            supplier.supply(Need::PerfMap { generation: 0 });
        }
        Some(match code {
            RegionCode::Module(module, bias) => Backing::Module { module, address: address.wrapping_sub(bias) },
            RegionCode::Unreadable(module) => {
                Backing::Unreadable { module, offset: (address - region.start).wrapping_add(region.offset) }
            }
            RegionCode::Jit => Backing::Jit,
        })
    }
}

/// What a region is; `None`: nobody tells.
fn open(region: &Region, modules: &mut Modules, supplier: &mut dyn Supplier) -> Option<RegionCode> {
    if region.kind == RegionKind::Anonymous {
        return Some(RegionCode::Jit);
    }
    let (supply, files) = supplier.supply(Need::Mapped { start: region.start, end: region.end });
    let (id, file) = match (supply, files.into_iter().next()) {
        (Supply::Module { module: Some(id), .. }, Some(file)) => (id, file),
        (Supply::Module { module: Some(id), .. }, None) => {
            modules.note(id, &"too many files are open");
            return Some(RegionCode::Unreadable(id));
        }
        (Supply::Refused { module: Some(id), .. }, _) => return Some(RegionCode::Unreadable(id)),
        _ => return None,
    };
    Some(match modules.insert(id, file, supplier) {
        Ok(module) => match module.bias(region.start, region.end, region.offset) {
            Some(bias) => RegionCode::Module(id, bias),
            None => {
                modules.note(id, &"no segment of it belongs there");
                RegionCode::Unreadable(id)
            }
        },
        Err(ImageError::NotElf) => RegionCode::Jit,
        Err(_) => RegionCode::Unreadable(id),
    })
}
