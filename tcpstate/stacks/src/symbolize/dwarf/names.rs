//! What entries are called.

use std::sync::Arc;

use gimli::{AttributeValue, DebugInfoOffset, UnitOffset};

use super::{
    abbreviations::AbbreviationCache,
    functions::steps,
    sections::{Dwarf, RawUnit, SectionBytes},
    text::text,
    unit::DebugUnit,
};
use crate::symbolize::work::{Failure, Work};

/// How many entries lead to a name. An inlined function leads to the one that was, and that to its declaration.
const MAX_REFERENCES: usize = 16;

/// Finds names in one file, and in the one that it shares with others.
#[derive(Debug)]
pub(super) struct EntryNames<'n, 'a> {
    /// The file's own debug info.
    pub(super) dwarf: &'n Dwarf<'a>,
    units: &'n [u64],
    shared: Option<(&'n Dwarf<'a>, &'n [u64])>,
    abbreviations: &'n mut AbbreviationCache,
    pub(super) work: &'n mut Work,
}

/// The name that an entry has, and the entry that it leads to.
type Named<'a> = (Option<&'a [u8]>, Option<AttributeValue<SectionBytes<'a>>>);

/// An entry somewhere.
enum Place<'a> {
    Here(UnitOffset),
    Elsewhere { is_shared: bool, unit: Box<DebugUnit<'a>>, entry: UnitOffset },
}

impl<'n, 'a> EntryNames<'n, 'a> {
    /// Of debug info with units at these offsets.
    pub(super) fn new(
        dwarf: &'n Dwarf<'a>,
        units: &'n [u64],
        abbreviations: &'n mut AbbreviationCache,
        work: &'n mut Work,
    ) -> Self {
        Self { dwarf, units, shared: None, abbreviations, work }
    }

    /// Adds the file that it shares with others.
    pub(super) fn share(&mut self, dwarf: &'n Dwarf<'a>, units: &'n [u64]) {
        self.shared = Some((dwarf, units));
    }

    /// The unit with this number.
    pub(super) fn unit(&mut self, number: usize) -> Result<DebugUnit<'a>, Failure> {
        let offset = self.units.get(number).copied().ok_or(gimli::Error::OffsetOutOfBounds(number as u64))?;
        self.unit_at(false, offset)
    }

    fn unit_at(&mut self, is_shared: bool, offset: u64) -> Result<DebugUnit<'a>, Failure> {
        let dwarf = self.of(is_shared)?.0;
        let offset = usize::try_from(offset).map_err(|_| gimli::Error::OffsetOutOfBounds(offset))?;
        let header = dwarf.debug_info.header_from_offset(DebugInfoOffset(offset))?;
        let abbreviations = self.abbreviations.get(dwarf, is_shared, header.debug_abbrev_offset().0, self.work)?;
        DebugUnit::read(dwarf, header, Arc::clone(&abbreviations), self.work)
    }

    fn of(&self, is_shared: bool) -> Result<(&'n Dwarf<'a>, &'n [u64]), Failure> {
        let own = Some((self.dwarf, self.units));
        Ok(if is_shared { self.shared } else { own }.ok_or(gimli::Error::OffsetOutOfBounds(0))?)
    }

    /// What the entry at `entry` is called, mangled if it says so. Entries may lead to others in a circle.
    pub(super) fn name(&mut self, unit: &DebugUnit<'a>, entry: UnitOffset) -> Result<Option<&'a [u8]>, Failure> {
        let mut place = Place::Here(entry);
        for _ in 0..MAX_REFERENCES {
            let (is_shared, unit, entry) = match &place {
                Place::Here(entry) => (false, unit, *entry),
                Place::Elsewhere { is_shared, unit, entry } => (*is_shared, &**unit, *entry),
            };
            let (dwarf, _) = self.of(is_shared)?;
            let (name, next) = self.read(dwarf, &unit.raw, entry)?;
            if name.is_some() {
                return Ok(name);
            }
            place = match next {
                Some(AttributeValue::UnitRef(entry)) => match place {
                    Place::Here(_) => Place::Here(entry),
                    Place::Elsewhere { is_shared, unit, .. } => Place::Elsewhere { is_shared, unit, entry },
                },
                Some(AttributeValue::DebugInfoRef(offset)) => self.elsewhere(is_shared, offset)?,
                Some(AttributeValue::DebugInfoRefSup(offset)) => self.elsewhere(true, offset)?,
                _ => return Ok(None),
            };
        }
        Ok(None)
    }

    fn elsewhere(&mut self, is_shared: bool, DebugInfoOffset(offset): DebugInfoOffset) -> Result<Place<'a>, Failure> {
        let (_, units) = self.of(is_shared)?;
        let before = units.partition_point(|&unit| unit < offset as u64);
        let begin =
            before.checked_sub(1).map(|index| units[index]).ok_or(gimli::Error::OffsetOutOfBounds(offset as u64))?;
        let unit = Box::new(self.unit_at(is_shared, begin)?);
        let entry = DebugInfoOffset(offset)
            .to_unit_offset(&unit.raw.header)
            .ok_or(gimli::Error::OffsetOutOfBounds(offset as u64))?;
        Ok(Place::Elsewhere { is_shared, unit, entry })
    }

    /// The name that an entry has, and else the entry that it leads to.
    fn read(&mut self, dwarf: &Dwarf<'a>, unit: &RawUnit<'a>, entry: UnitOffset) -> Result<Named<'a>, Failure> {
        let mut entries = unit.header.entries_raw(&unit.abbreviations, Some(entry))?;
        let abbreviation = entries.read_abbreviation()?.ok_or(gimli::Error::InvalidAbbreviationCode(0))?;
        let (mut name, mut linkage, mut next) = (None, None, None);
        for &specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(specification)?;
            match attribute.name() {
                gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => linkage = Some(attribute.value()),
                gimli::DW_AT_name => name = Some(attribute.value()),
                gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => next = Some(attribute.value()),
                _ => {}
            }
        }
        self.work.spend(steps(abbreviation.attributes().len(), entries.next_offset().0 - entry.0))?;
        let string = |value| text(dwarf, unit, value).filter(|text| !text.is_empty());
        Ok((linkage.and_then(string).or_else(|| name.and_then(string)), next))
    }
}
