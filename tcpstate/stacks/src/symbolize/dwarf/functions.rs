//! The functions of a unit.

use gimli::UnitOffset;

use super::{extent::Extent, sections::Dwarf, unit::DebugUnit};
use crate::symbolize::work::{Failure, Work};

/// How many ranges of code the functions of one unit have.
const MAX_RANGES: usize = 1 << 20;
/// How many functions that begin before an address are looked at for one that has it.
const MAX_OVERLAP: usize = 64;

/// Where each function of a unit has its code.
#[derive(Debug)]
pub(super) struct FunctionIndex(Vec<FunctionRange>);

#[derive(Clone, Copy, Debug)]
struct FunctionRange {
    begin: u64,
    end: u64,
    /// Where it is in the unit.
    entry: usize,
}

impl FunctionIndex {
    /// Reads all entries of `unit`.
    pub(super) fn read<'a>(dwarf: &Dwarf<'a>, unit: &DebugUnit<'a>, work: &mut Work) -> Result<Self, Failure> {
        let raw = &unit.raw;
        let mut ranges: Vec<FunctionRange> = Vec::new();
        let mut entries = raw.header.entries_raw(&raw.abbreviations, None)?;
        while !entries.is_empty() {
            let UnitOffset(entry) = entries.next_offset();
            let Some(abbreviation) = entries.read_abbreviation()? else {
                work.spend(1)?;
                continue;
            };
            let attributes = abbreviation.attributes();
            if abbreviation.tag() == gimli::DW_TAG_subprogram {
                let mut extent = Extent::default();
                for &specification in attributes {
                    extent.take(&entries.read_attribute(specification)?);
                }
                extent.for_each(dwarf, raw, work, |begin, end| {
                    ranges.push(FunctionRange { begin, end, entry });
                    ranges.len() < MAX_RANGES
                })?;
            } else {
                entries.skip_attributes(attributes)?;
            }
            work.spend(steps(attributes.len(), entries.next_offset().0 - entry))?;
        }
        ranges.sort_unstable_by_key(|range| (range.begin, range.entry));
        ranges.shrink_to_fit();
        Ok(Self(ranges))
    }

    /// The function with the code at `address`: that which begins last before it.
    pub(super) fn find(&self, address: u64) -> Option<UnitOffset> {
        let before = self.0.partition_point(|range| range.begin <= address);
        let candidates = self.0[..before].iter().rev().take(MAX_OVERLAP);
        candidates.into_iter().find(|range| address < range.end).map(|range| UnitOffset(range.entry))
    }

    /// What it takes of memory, bytes.
    pub(super) fn size(&self) -> usize {
        self.0.capacity() * size_of::<FunctionRange>()
    }
}

/// How much work an entry is that has so many attributes and bytes: either can be many without the other.
#[inline]
pub(super) fn steps(attributes: usize, bytes: usize) -> usize {
    1 + attributes / 2 + bytes / 64
}
