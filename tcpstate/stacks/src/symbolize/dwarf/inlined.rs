//! The functions that were inlined at an address.

use gimli::{AttributeValue, UnitOffset};

use super::{extent::Extent, functions::steps, sections::Dwarf, unit::DebugUnit};
use crate::symbolize::work::{Failure, Work};

/// How many functions one may have inlined into another. Iterators of Rust come to forty.
const MAX_INLINED: usize = 128;

/// One that was inlined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inlined {
    /// Where it is in the unit.
    pub(super) entry: UnitOffset,
    /// Where it was called: number of the file, and line.
    pub(super) file: Option<u64>,
    pub(super) line: Option<u32>,
}

/// The functions that were inlined into `function` at `address`, outermost first.
pub(super) fn chain<'a>(
    dwarf: &Dwarf<'a>,
    unit: &DebugUnit<'a>,
    function: UnitOffset,
    address: u64,
    work: &mut Work,
) -> Result<Vec<Inlined>, Failure> {
    let raw = &unit.raw;
    let mut chain: Vec<(isize, Inlined)> = Vec::new();
    let mut entries = raw.header.entries_raw(&raw.abbreviations, Some(function))?;
    let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(Vec::new()) };
    entries.skip_attributes(abbreviation.attributes())?;
    // Entries deeper than that are of code elsewhere.
    let mut elsewhere = None;
    // The function itself is at depth 0; what is no deeper than the last one found comes after it.
    while !entries.is_empty() && entries.next_depth() > chain.last().map_or(0, |(depth, _)| *depth) {
        let (depth, entry) = (entries.next_depth(), entries.next_offset());
        let Some(abbreviation) = entries.read_abbreviation()? else {
            work.spend(1)?;
            continue;
        };
        let attributes = abbreviation.attributes();
        elsewhere = elsewhere.filter(|&above| depth > above);
        let is_inlined = abbreviation.tag() == gimli::DW_TAG_inlined_subroutine;
        if is_inlined && elsewhere.is_none() {
            let (mut extent, mut inlined) = (Extent::default(), Inlined { entry, file: None, line: None });
            for &specification in attributes {
                let attribute = entries.read_attribute(specification)?;
                match (attribute.name(), attribute.value()) {
                    // DWARF 5 has a file 0, before that it is none.
                    (gimli::DW_AT_call_file, AttributeValue::FileIndex(file)) => {
                        inlined.file = (file > 0 || raw.header.version() >= 5).then_some(file);
                    }
                    (gimli::DW_AT_call_line, value) => {
                        inlined.line =
                            value.udata_value().and_then(|line| u32::try_from(line).ok()).filter(|&line| line > 0);
                    }
                    _ => {
                        extent.take(&attribute);
                    }
                }
            }
            if extent.contains(dwarf, raw, address, work)? {
                if chain.len() >= MAX_INLINED {
                    return Err(work.give_up());
                }
                chain.push((depth, inlined));
            } else {
                elsewhere = Some(depth);
            }
        } else {
            entries.skip_attributes(attributes)?;
            if abbreviation.tag() == gimli::DW_TAG_subprogram && elsewhere.is_none() {
                elsewhere = Some(depth);
            }
        }
        work.spend(steps(attributes.len(), entries.next_offset().0 - entry.0))?;
    }
    Ok(chain.into_iter().map(|(_, inlined)| inlined).collect())
}
