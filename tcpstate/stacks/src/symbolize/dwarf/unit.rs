//! One unit of debug info: what one run of a compiler wrote.

use std::sync::Arc;

use gimli::{
    Abbreviations, AttributeValue, DebugAddrBase, DebugLineOffset, DebugLocListsBase, DebugRngListsBase,
    DebugStrOffsetsBase, EndianSlice, LittleEndian, Reader, UnitHeader,
};

use super::{
    extent::Extent,
    sections::{Dwarf, RawUnit, SectionBytes},
    text::text,
};
use crate::symbolize::work::{Failure, Work};

/// A unit, and what its first entry says.
#[derive(Debug)]
pub(super) struct DebugUnit<'a> {
    /// Without `line_program`: who wants that reads it.
    pub(super) raw: RawUnit<'a>,
    /// The addresses that it has code at.
    pub(super) extent: Extent<'a>,
    /// Where its line table is.
    pub(super) lines: Option<DebugLineOffset>,
}

impl<'a> DebugUnit<'a> {
    /// Reads the first entry. `gimli::Unit::new` does so, too; but that reads the whole table of files with it, which takes longest, and
    /// strings of any length.
    pub(super) fn read(
        dwarf: &Dwarf<'a>,
        header: UnitHeader<SectionBytes<'a>>,
        abbreviations: Arc<Abbreviations>,
        work: &mut Work,
    ) -> Result<Self, Failure> {
        let (encoding, file_type) = (header.encoding(), dwarf.file_type);
        let mut raw = RawUnit {
            abbreviations,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, file_type),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file_type),
            rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, file_type),
            line_program: None,
            dwo_id: None,
            header,
        };
        let (mut extent, mut lines, mut name, mut directory) = (Extent::default(), None, None, None);
        let abbreviations = Arc::clone(&raw.abbreviations);
        let mut entries = raw.header.entries_raw(&abbreviations, None)?;
        let abbreviation = entries.read_abbreviation()?.ok_or(gimli::Error::MissingUnitDie)?;
        work.spend(1 + abbreviation.attributes().len())?;
        for &specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(specification)?;
            if extent.take(&attribute) {
                continue;
            }
            match (attribute.name(), attribute.value()) {
                (gimli::DW_AT_name, value) => name = Some(value),
                (gimli::DW_AT_comp_dir, value) => directory = Some(value),
                (gimli::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) => lines = Some(offset),
                (gimli::DW_AT_str_offsets_base, AttributeValue::DebugStrOffsetsBase(base)) => {
                    raw.str_offsets_base = base;
                }
                (gimli::DW_AT_addr_base | gimli::DW_AT_GNU_addr_base, AttributeValue::DebugAddrBase(base)) => {
                    raw.addr_base = base;
                }
                (
                    gimli::DW_AT_rnglists_base | gimli::DW_AT_GNU_ranges_base,
                    AttributeValue::DebugRngListsBase(base),
                ) => {
                    raw.rnglists_base = base;
                }
                _ => {}
            }
        }
        let string = |value: AttributeValue<SectionBytes<'a>>| {
            text(dwarf, &raw, value).map(|text| EndianSlice::new(text, LittleEndian))
        };
        let (name, directory) = (name.and_then(string), directory.and_then(string));
        (raw.name, raw.comp_dir) = (name, directory);
        if let Some(low) = extent.low() {
            raw.low_pc = dwarf.attr_address(&raw, low)?.unwrap_or(0);
        }
        Ok(Self { raw, extent, lines })
    }
}

/// The code of the first entry's shape.
pub(super) fn first_code(header: &UnitHeader<SectionBytes<'_>>) -> Result<u64, Failure> {
    Ok(header.range_from(header.root_offset()..)?.read_uleb128()?)
}
