//! Which addresses an entry is of.

use gimli::{Attribute, AttributeValue};

use super::sections::{Dwarf, RawUnit, SectionBytes};
use crate::symbolize::work::{Failure, Work};

/// What an entry says of its addresses, to be read when all its attributes are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent<'a> {
    low: Option<AttributeValue<SectionBytes<'a>>>,
    high: Option<AttributeValue<SectionBytes<'a>>>,
    ranges: Option<AttributeValue<SectionBytes<'a>>>,
}

impl<'a> Extent<'a> {
    /// Takes an attribute in, if it is of use. Whether it was.
    #[inline]
    pub(super) fn take(&mut self, attribute: &Attribute<SectionBytes<'a>>) -> bool {
        let field = match attribute.name() {
            gimli::DW_AT_low_pc => &mut self.low,
            gimli::DW_AT_high_pc => &mut self.high,
            gimli::DW_AT_ranges => &mut self.ranges,
            _ => return false,
        };
        *field = Some(attribute.value());
        true
    }

    /// The first address, where it is said as such.
    pub(super) fn low(&self) -> Option<AttributeValue<SectionBytes<'a>>> {
        self.low
    }

    /// Gives each range, from its first address to the one after its last, to `each`, which says whether there may be more. Ranges
    /// without any address are left out.
    pub(super) fn for_each(
        &self,
        dwarf: &Dwarf<'a>,
        unit: &RawUnit<'a>,
        work: &mut Work,
        mut each: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), Failure> {
        let list = self.ranges.map(|ranges| dwarf.attr_ranges_offset(unit, ranges)).transpose()?.flatten();
        if let Some(offset) = list {
            let mut list = dwarf.ranges(unit, offset)?;
            // `next()` goes on by itself over what is no range, however many there are.
            while let Some(raw) = list.next_raw()? {
                work.spend(1)?;
                if let Some(range) = list.convert_raw(raw)?
                    && !each(range.begin, range.end)
                {
                    return Err(work.give_up());
                }
            }
            return Ok(());
        }
        let (Some(low), Some(high)) = (self.low, self.high) else { return Ok(()) };
        let Some(begin) = dwarf.attr_address(unit, low)? else { return Ok(()) };
        let end = match dwarf.attr_address(unit, high)? {
            Some(end) => Some(end),
            None => high.udata_value().and_then(|size| begin.checked_add(size)),
        };
        match end {
            Some(end) if begin < end && !each(begin, end) => Err(work.give_up()),
            _ => Ok(()),
        }
    }

    /// Whether `address` is among them.
    pub(super) fn contains(
        &self,
        dwarf: &Dwarf<'a>,
        unit: &RawUnit<'a>,
        address: u64,
        work: &mut Work,
    ) -> Result<bool, Failure> {
        let mut found = false;
        self.for_each(dwarf, unit, work, |begin, end| {
            found |= (begin..end).contains(&address);
            true
        })?;
        Ok(found)
    }
}
