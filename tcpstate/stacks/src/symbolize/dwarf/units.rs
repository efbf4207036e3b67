//! Which unit has the code at an address.

use std::sync::Arc;

use gimli::{UnitHeader, UnitType};

use super::{
    abbreviations::{self, AbbreviationCache},
    lines::Lines,
    sections::{Dwarf, SectionBytes},
    unit::{DebugUnit, first_code},
};
use crate::symbolize::work::{Failure, Work};

/// How many units of a file are known. A browser has 30,000.
const MAX_UNITS: usize = 1 << 18;
/// How many ranges of addresses of units are known. A browser has nearly two million.
const MAX_RANGES: usize = 1 << 21;

/// All units of a file, and their addresses.
#[derive(Debug)]
pub(super) struct UnitIndex {
    /// Where they begin, in order.
    pub(super) offsets: Vec<u64>,
    /// In order of `begin`.
    ranges: Vec<UnitRange>,
}

#[derive(Clone, Copy, Debug)]
struct UnitRange {
    begin: u64,
    end: u64,
    /// The greatest `end` of this one and of all before it.
    reach: u64,
    unit: u32,
}

impl UnitIndex {
    /// Reads the first entry of each unit. What cannot be read is left out; what is too much, too.
    pub(super) fn read(dwarf: &Dwarf<'_>, cache: &mut AbbreviationCache, work: &mut Work) -> Self {
        let mut index = Self { offsets: Vec::new(), ranges: Vec::new() };
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            let Some(offset) = header.debug_info_offset() else { continue };
            if index.offsets.len() >= MAX_UNITS {
                work.give_up();
                break;
            }
            let number = index.offsets.len();
            index.offsets.push(offset.0 as u64);
            match index.add(dwarf, number, header, cache, work) {
                Err(Failure::TooMuch) => break,
                Err(error) => tracing::debug!(%error, "a unit of debug info is left out"),
                Ok(()) => {}
            }
        }
        index.ranges.sort_unstable_by_key(|range| (range.begin, range.unit));
        let mut reach = 0;
        for range in &mut index.ranges {
            reach = range.end.max(reach);
            range.reach = reach;
        }
        index.ranges.shrink_to_fit();
        index
    }

    fn add<'a>(
        &mut self,
        dwarf: &Dwarf<'a>,
        number: usize,
        header: UnitHeader<SectionBytes<'a>>,
        cache: &mut AbbreviationCache,
        work: &mut Work,
    ) -> Result<(), Failure> {
        work.spend(1)?;
        // Others have no code, and are there for references.
        if !matches!(header.type_(), UnitType::Compilation | UnitType::Skeleton(_) | UnitType::SplitCompilation(_)) {
            return Ok(());
        }
        let (table, code) = (header.debug_abbrev_offset().0, first_code(&header)?);
        let shape = Arc::new(abbreviations::single(dwarf, table, code, work)?);
        let unit = DebugUnit::read(dwarf, header, shape, work)?;
        let before = self.ranges.len();
        let add = |begin, end| {
            self.ranges.push(UnitRange { begin, end, reach: 0, unit: number as u32 });
            self.ranges.len() < MAX_RANGES
        };
        unit.extent.for_each(dwarf, &unit.raw, work, add)?;
        // Units that were assembled may say nothing but in their line table.
        if self.ranges.len() == before && unit.lines.is_some() {
            let whole = DebugUnit {
                raw: gimli::Unit { abbreviations: cache.get(dwarf, false, table, work)?, ..unit.raw },
                ..unit
            };
            for (begin, end) in Lines::read(dwarf, &whole, work)?.ranges() {
                if self.ranges.len() >= MAX_RANGES {
                    return Err(work.give_up());
                }
                self.ranges.push(UnitRange { begin, end, reach: 0, unit: number as u32 });
            }
        }
        Ok(())
    }

    /// The units that claim `address`. There may be several: of code that was merged, and where a unit claims what lies between its
    /// functions.
    pub(super) fn find(&self, address: u64) -> impl Iterator<Item = usize> {
        let before = self.ranges.partition_point(|range| range.begin <= address);
        let candidates = self.ranges[..before].iter().rev().take_while(move |range| address < range.reach);
        // However many ranges overlap, not all of them are looked at.
        candidates.take(MAX_OVERLAP).filter(move |range| address < range.end).map(|range| range.unit as usize)
    }

    /// What it takes of memory, bytes.
    pub(super) fn size(&self) -> usize {
        self.offsets.capacity() * size_of::<u64>() + self.ranges.capacity() * size_of::<UnitRange>()
    }
}

/// How many ranges that begin before an address are looked at for one that has it.
const MAX_OVERLAP: usize = 1 << 16;

/// Where the units of a file begin, in order.
pub(super) fn offsets(dwarf: &Dwarf<'_>, work: &mut Work) -> Vec<u64> {
    let mut offsets = Vec::new();
    let mut headers = dwarf.units();
    while offsets.len() < MAX_UNITS
        && work.spend(1).is_ok()
        && let Ok(Some(header)) = headers.next()
    {
        offsets.extend(header.debug_info_offset().map(|offset| offset.0 as u64));
    }
    offsets
}
