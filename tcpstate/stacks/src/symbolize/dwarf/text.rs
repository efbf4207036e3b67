//! Strings in debug info.

use gimli::{AttributeValue, Section};

use super::sections::{Dwarf, RawUnit, SectionBytes};

/// The longest string that is read, bytes. What takes no end by then is none.
const MAX_TEXT: usize = 64 << 10;

/// The string that an attribute is, or leads to.
pub(super) fn text<'a>(
    dwarf: &Dwarf<'a>,
    unit: &RawUnit<'a>,
    value: AttributeValue<SectionBytes<'a>>,
) -> Option<&'a [u8]> {
    let (section, offset) = match value {
        AttributeValue::String(text) => return Some(&text.slice()[..text.slice().len().min(MAX_TEXT)]),
        AttributeValue::DebugStrRef(offset) => (dwarf.debug_str.reader(), offset.0),
        AttributeValue::DebugStrRefSup(offset) => (dwarf.sup.as_ref()?.debug_str.reader(), offset.0),
        AttributeValue::DebugLineStrRef(offset) => (dwarf.debug_line_str.reader(), offset.0),
        AttributeValue::DebugStrOffsetsIndex(index) => {
            (dwarf.debug_str.reader(), dwarf.string_offset(unit, index).ok()?.0)
        }
        _ => return None,
    };
    let rest = section.slice().get(offset..)?;
    let rest = &rest[..rest.len().min(MAX_TEXT)];
    rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
}
