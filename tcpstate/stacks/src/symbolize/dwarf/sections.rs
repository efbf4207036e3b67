//! The sections of debug info of one file.

use gimli::{EndianSlice, LittleEndian, SectionId};

use crate::symbolize::elf::{ObjectFile, SectionContents};

/// How bytes are read.
pub(super) type SectionBytes<'a> = EndianSlice<'a, LittleEndian>;
/// All debug info of a file, read where it is needed.
pub(super) type Dwarf<'a> = gimli::Dwarf<SectionBytes<'a>>;
/// One unit of it, as gimli has it.
pub(super) type RawUnit<'a> = gimli::Unit<SectionBytes<'a>>;

/// What is read. Neither `.debug_aranges` nor `.debug_names`: they repeat what `.debug_info` says, or contradict it.
const READ: [SectionId; 9] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// Where they are, or what they inflated to.
#[derive(Debug)]
pub(super) struct Sections([SectionContents; READ.len()]);

impl Sections {
    /// Inflates what is compressed. `taken` bytes were inflated for the same file before.
    pub(super) fn load(file: &ObjectFile, taken: usize) -> Self {
        let mut taken = taken;
        Self(READ.map(|section| {
            let contents = file.contents(section.name(), taken);
            taken += contents.size();
            contents
        }))
    }

    /// `file` is that of which they are.
    pub(super) fn dwarf<'a>(&'a self, file: &'a ObjectFile) -> Dwarf<'a> {
        let section = |id| {
            let bytes = READ.iter().position(|&read| read == id).map_or(&[][..], |index| self.0[index].of(file));
            Ok::<_, std::convert::Infallible>(EndianSlice::new(bytes, LittleEndian))
        };
        let Ok(dwarf) = Dwarf::load(section);
        dwarf
    }

    /// What was inflated, bytes.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(SectionContents::size).sum()
    }
}
