//! Unwind info of one module: which of it is there, and what it says.
//!
//! framehop executes it, but where it finds none, or none that it can execute, it silently follows the frame pointer instead.
//! Whether a stack is complete, and why not, must be known here, so the rule is looked at before it is executed. Expressions
//! are refused: they need registers and memory that framehop does not have, and in a hostile file they may never end.

use std::{fs::File, sync::Arc};

use framehop::{ExplicitModuleSectionInfo, FrameAddress, Unwinder as _};
use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EhFrameOffset, EndianSlice, FrameDescriptionEntry,
    LittleEndian, UnwindContext, UnwindSection,
};

use super::image::Image;
use crate::arch::{self, UnwindRule, judge};

type SectionReader<'a> = EndianSlice<'a, LittleEndian>;
/// Room in which gimli builds the rules of a row; reused.
pub(super) type Scratch = UnwindContext<usize>;

/// Unwind info of a module, by the addresses of its file.
pub(super) struct Cfi {
    section: Arc<[u8]>,
    fdes: Fdes,
    bases: BaseAddresses,
    unwinder: arch::CfiUnwinder<Arc<[u8]>>,
}

/// Where the entry of an address is found, by the section that they are in.
enum Fdes {
    EhFrameWithTable(Arc<[u8]>),
    EhFrame(Index),
    DebugFrame(Index),
}

/// First address and offset of every FDE, by address: for sections without a table of their own.
type Index = Vec<(u64, usize)>;

impl Cfi {
    /// `None` when the file has no unwind info, or none that can be read.
    pub(super) fn load(image: &Image, file: &File) -> Option<Self> {
        let first = image.segments.iter().map(|segment| segment.address).min()?;
        let last = image.segments.iter().map(|segment| segment.address.saturating_add(segment.size)).max()?;
        let mut bases = BaseAddresses::default().set_text(image.text).set_got(image.got);
        let mut info = ExplicitModuleSectionInfo {
            base_svma: first,
            text_svma: Some(image.text..image.text),
            got_svma: Some(image.got..image.got),
            ..ExplicitModuleSectionInfo::default()
        };
        let (section, fdes) = if let Some(stored) = image.eh_frame {
            let section = stored.load(file).ok()?;
            bases = bases.set_eh_frame(stored.address);
            info.eh_frame_svma = Some(stored.address..stored.address);
            info.eh_frame = Some(Arc::clone(&section));
            let fdes = match image.eh_frame_hdr.map(|stored| (stored.address, stored.load(file))) {
                Some((_, Err(_))) => return None,
                Some((address, Ok(table))) if is_whole(&table, &bases.clone().set_eh_frame_hdr(address)) => {
                    bases = bases.set_eh_frame_hdr(address);
                    info.eh_frame_hdr_svma = Some(address..address);
                    info.eh_frame_hdr = Some(Arc::clone(&table));
                    Fdes::EhFrameWithTable(table)
                }
                _ => Fdes::EhFrame(index(&eh_frame(&section), &bases).ok()?),
            };
            (section, fdes)
        } else {
            let section = image.debug_frame?.load(file).ok()?;
            info.debug_frame = Some(Arc::clone(&section));
            let fdes = Fdes::DebugFrame(index(&debug_frame(&section), &bases).ok()?);
            (section, fdes)
        };
        let mut unwinder = arch::CfiUnwinder::new();
        unwinder.add_module(framehop::Module::new(String::new(), first..last, first, info));
        Some(Self { section, fdes, bases, unwinder })
    }

    /// How much memory it takes, bytes.
    pub(super) fn size(&self) -> usize {
        let index = match &self.fdes {
            Fdes::EhFrameWithTable(table) => table.len(),
            // framehop makes an index of its own, half as large.
            Fdes::EhFrame(index) | Fdes::DebugFrame(index) => index.len() * size_of::<(u64, usize)>() * 3 / 2,
        };
        self.section.len() + index
    }

    /// What there is for `address`.
    pub(super) fn rule(&self, address: u64, scratch: &mut Scratch) -> UnwindRule {
        match &self.fdes {
            Fdes::EhFrameWithTable(table) => {
                let section = eh_frame(&self.section);
                entry(table, address, &self.bases)
                    .map_or(UnwindRule::None, |offset| self.rule_at(&section, offset, address, scratch))
            }
            Fdes::EhFrame(index) => {
                let section = eh_frame(&self.section);
                find(index, address).map_or(UnwindRule::None, |at| self.rule_at(&section, at.into(), address, scratch))
            }
            Fdes::DebugFrame(index) => {
                let section = debug_frame(&self.section);
                find(index, address).map_or(UnwindRule::None, |at| self.rule_at(&section, at.into(), address, scratch))
            }
        }
    }

    fn rule_at<'a, S: UnwindSection<SectionReader<'a>>>(
        &self,
        section: &S,
        offset: S::Offset,
        address: u64,
        scratch: &mut Scratch,
    ) -> UnwindRule {
        let fde: FrameDescriptionEntry<_> = match section.fde_from_offset(&self.bases, offset, S::cie_from_offset) {
            Ok(fde) if fde.contains(address) => fde,
            Ok(_) => return UnwindRule::None,
            Err(_) => return UnwindRule::Unusable,
        };
        if fde.is_signal_trampoline() {
            return UnwindRule::Signal;
        }
        match fde.unwind_info_for_address(section, &self.bases, scratch, address) {
            Ok(row) => judge(row),
            Err(_) => UnwindRule::Unusable,
        }
    }

    /// Finds the caller of `address`, where [`Cfi::rule`] said [`UnwindRule::Caller`]. `None`: the return address is 0.
    pub(super) fn step(
        &self,
        address: FrameAddress,
        regs: &mut arch::Regs,
        cache: &mut arch::Cache,
        read: &mut impl FnMut(u64) -> Result<u64, ()>,
    ) -> Result<Option<u64>, framehop::Error> {
        self.unwinder.unwind_frame(address, regs, cache, read)
    }
}

/// Where in `.eh_frame` the entry is that `table` has for `address`.
///
/// Not by `pointer_to_offset()` (gimli 0.33), which panics on an entry before the section where overflow is checked. Wrapped, it is
/// beyond the section's end, and refused there.
fn entry(table: &[u8], address: u64, bases: &BaseAddresses) -> Option<EhFrameOffset> {
    let header = EhFrameHdr::new(table, LittleEndian).parse(bases, 8).ok()?;
    let entry = header.table()?.lookup(address, bases).ok()?.direct().ok()?;
    let section = header.eh_frame_ptr().direct().ok()?;
    usize::try_from(entry.wrapping_sub(section)).ok().map(EhFrameOffset)
}

/// Whether a table can have as many entries as it says: gimli 0.33 multiplies their number unchecked to look one up.
fn is_whole(table: &[u8], bases: &BaseAddresses) -> bool {
    let Ok(header) = EhFrameHdr::new(table, LittleEndian).parse(bases, 8) else { return true };
    header.table().is_none_or(|entries| entries.iter(bases).size_hint().1.is_some_and(|count| count <= table.len()))
}

fn eh_frame(data: &[u8]) -> EhFrame<SectionReader<'_>> {
    let mut section = EhFrame::new(data, LittleEndian);
    section.set_address_size(8);
    section
}

fn debug_frame(data: &[u8]) -> DebugFrame<SectionReader<'_>> {
    let mut section = DebugFrame::new(data, LittleEndian);
    section.set_address_size(8);
    section
}

fn index<'a, S: UnwindSection<SectionReader<'a>>>(section: &S, bases: &BaseAddresses) -> gimli::Result<Index> {
    let mut index = Vec::new();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next()? {
        if let CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(S::cie_from_offset)?;
            index.push((fde.initial_address(), fde.offset()));
        }
    }
    index.sort_unstable();
    Ok(index)
}

fn find(index: &Index, address: u64) -> Option<usize> {
    let after = index.partition_point(|&(start, _)| start <= address);
    Some(index[after.checked_sub(1)?].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that says it has `count` entries for a section at `section`, with one.
    fn table(section: u64, count: u64, first: u64, entry: u64) -> Vec<u8> {
        // Absolute addresses: where the section is, the number, the entries.
        let encodings = [1, 0x00, 0x04, 0x04];
        [&encodings[..], &[section, count, first, entry].map(u64::to_le_bytes).concat()].concat()
    }

    #[test]
    fn the_table_leads_to_entries() {
        let bases = BaseAddresses::default().set_eh_frame_hdr(0x800);
        assert_eq!(entry(&table(0xc00, 1, 0x100, 0xc20), 0x104, &bases), Some(EhFrameOffset(0x20)));
    }

    #[test]
    fn a_table_that_lies() {
        let bases = BaseAddresses::default().set_eh_frame_hdr(0x800);
        let before_the_section = entry(&table(0xc00, 1, 0x100, 0xb00), 0x104, &bases);
        assert!(before_the_section.is_some_and(|EhFrameOffset(offset)| offset > usize::MAX / 2));
        for count in [3 << 32, u64::MAX] {
            assert!(!is_whole(&table(0xc00, count, 0x100, 0xc20), &bases), "{count} entries");
        }
        assert!(is_whole(&table(0xc00, 1, 0x100, 0xc20), &bases) && is_whole(b"", &bases));
    }
}
