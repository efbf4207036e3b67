//! Tables for unwinding that do not end, that lead to themselves, and that lie about how much there is.

use anyhow::Result;

use super::{
    Elf, Hostile,
    bytes::{Bytes, sized},
};

pub(crate) const UNWINDING: &[Hostile] = &[
    Hostile { name: "unwinding-endless-cie", make: |elf| instructed(elf, &vec![0; LONG], &[]) },
    Hostile { name: "unwinding-remembers", make: |elf| instructed(elf, &vec![REMEMBER; LONG], &[]) },
    Hostile { name: "unwinding-endless-fde", make: |elf| instructed(elf, SOUND, &vec![ADVANCE; LONG]) },
    Hostile {
        name: "unwinding-looping-expression",
        make: |elf| instructed(elf, SOUND, &[CFA_EXPRESSION, 3, 0x2f, 0xfd, 0xff]),
    },
    Hostile { name: "unwinding-long-expression", make: long_expression },
    Hostile { name: "unwinding-standing-still", make: |elf| instructed(elf, &[0x0c, 7, 0, 0x90, 0], &[]) },
    Hostile { name: "unwinding-endless-augmentation", make: endless_augmentation },
    Hostile { name: "unwinding-its-own-cie", make: its_own_cie },
    Hostile { name: "unwinding-many-fdes", make: |elf| many(elf, ".eh_frame") },
    Hostile { name: "unwinding-many-fdes-not-loaded", make: |elf| many(elf, ".debug_frame") },
    Hostile { name: "unwinding-empty-entries", make: |elf| framed(elf, vec![0; LONG]) },
    Hostile { name: "unwinding-entry-of-64-bits", make: |elf| framed(elf, [0xff; 64].into()) },
    Hostile { name: "unwinding-index-count", make: |elf| index(elf, &[1, 0x1b, 0x03, 0x3b], u32::MAX) },
    Hostile { name: "unwinding-index-encodings", make: |elf| index(elf, &[1, 0xff, 0x50, 0xff], 3) },
    Hostile { name: "unwinding-index-leb", make: |elf| index(elf, &[1, 0x1b, 0x01, 0x09], 1 << 30) },
    Hostile { name: "unwinding-index-indirect", make: |elf| index(elf, &[1, 0x9b, 0x03, 0xbb], 3) },
];

const LONG: usize = 16 << 20;
const REMEMBER: u8 = 0x0a;
const ADVANCE: u8 = 0x40;
const CFA_EXPRESSION: u8 = 0x0f;
/// The frame begins behind the return address: `DW_CFA_def_cfa`, `DW_CFA_offset`.
const SOUND: &[u8] = &[0x0c, 7, 8, 0x90, 1];
/// An entry whose addresses are what they are. Its factors, the register of the return address, no further data.
const CIE: &[u8] = &[1, b'z', b'R', 0, 1, 0x78, 16, 1, 0];

/// A section with its index.
#[derive(Default)]
struct Frames {
    section: Bytes,
    index: Vec<(u64, usize)>,
}

impl Frames {
    fn cie(&mut self, instructions: &[u8]) -> usize {
        let at = self.section.len();
        let content = Bytes::default().u32(0).raw(CIE).raw(instructions).done();
        self.section.raw(&sized(&content));
        at
    }

    fn fde(&mut self, cie: usize, start: u64, size: u64, instructions: &[u8]) -> Result<()> {
        let at = self.section.len();
        self.index.push((start, at));
        let back = u32::try_from(at + 4 - cie)?;
        let content = Bytes::default().u32(back).u64(start).u64(size).u8(0).raw(instructions).done();
        self.section.raw(&sized(&content));
        Ok(())
    }

    fn build(mut self, elf: &Elf) -> Result<Vec<u8>> {
        let mut elf = elf.clone();
        let (hdr, frame) = (elf.section(".eh_frame_hdr")?.address, elf.section(".eh_frame")?.address);
        let relative = |address: u64| (address.wrapping_sub(hdr) & u64::from(u32::MAX)).to_le_bytes();
        let mut index = Bytes::default();
        index.raw(&[1, 0x1b, 0x03, 0x3b]).raw(&relative(frame.wrapping_sub(4))[..4]);
        index.u32(u32::try_from(self.index.len())?);
        for (start, at) in self.index {
            index.raw(&relative(start)[..4]).raw(&relative(frame + at as u64)[..4]);
        }
        elf.with(".eh_frame_hdr", index.done()).with(".eh_frame", self.section.done()).build()
    }
}

/// One entry for all the code, with these instructions.
fn instructed(elf: &Elf, of_the_cie: &[u8], of_the_fde: &[u8]) -> Result<Vec<u8>> {
    let mut frames = Frames::default();
    let cie = frames.cie(of_the_cie);
    frames.fde(cie, elf.text.start, elf.text.end - elf.text.start, of_the_fde)?;
    frames.build(elf)
}

/// Pushes on and on.
fn long_expression(elf: &Elf) -> Result<Vec<u8>> {
    let instructions = Bytes::default().u8(CFA_EXPRESSION).leb(LONG as u64).raw(&vec![0x31; LONG]).done();
    instructed(elf, SOUND, &instructions)
}

fn framed(elf: &Elf, section: Vec<u8>) -> Result<Vec<u8>> {
    let index = vec![(elf.text.start, 0)];
    Frames { section: std::mem::take(Bytes::default().raw(&section)), index }.build(elf)
}

fn endless_augmentation(elf: &Elf) -> Result<Vec<u8>> {
    let cie = Bytes::default().u32(0).u8(1).raw(&vec![b'z'; LONG]).done();
    framed(elf, sized(&cie))
}

fn its_own_cie(elf: &Elf) -> Result<Vec<u8>> {
    // The pointer is the distance from itself, and an entry begins four bytes before it.
    let fde = Bytes::default().u32(4).u64(elf.text.start).u64(elf.text.end - elf.text.start).raw(&[0; 8]).done();
    framed(elf, sized(&fde))
}

/// 64 MB of entries, of which the last ones are for the code.
fn many(elf: &Elf, section: &str) -> Result<Vec<u8>> {
    let mut frames = Frames::default();
    let cie = frames.cie(SOUND);
    for at in 0..2_300_000 {
        frames.fde(cie, 0x10_0000 + at * 16, 16, &[])?;
    }
    frames.fde(cie, elf.text.start, elf.text.end - elf.text.start, &[])?;
    if section == ".eh_frame" {
        return frames.build(elf);
    }
    let mut elf = elf.clone();
    elf.section(".eh_frame")?.name = b".not_eh_frame".into();
    elf.section(".eh_frame_hdr")?.name = b".not_eh_frame_hdr".into();
    let mut content = frames.section.done();
    super::set(&mut content, 4, &[0xff; 4]);
    elf.with(section, content).build()
}

/// Of so many entries, in these encodings, over what is there.
fn index(elf: &Elf, encodings: &[u8], count: u32) -> Result<Vec<u8>> {
    let index = Bytes::default().raw(encodings).u32(0x1c).u32(count).raw(&[0x80; 256]).done();
    elf.clone().with(".eh_frame_hdr", index).build()
}
