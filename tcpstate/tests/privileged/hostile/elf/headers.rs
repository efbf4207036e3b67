//! Headers, notes and tables of Go that lie.

use anyhow::Result;
use object::elf::{PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, SHT_NOTE};

use super::{
    E_PHENTSIZE, E_PHNUM, E_PHOFF, E_SHENTSIZE, E_SHNUM, E_SHOFF, E_SHSTRNDX, Elf, Hostile, SECTION_HEADER,
    bytes::Bytes, program_header, set,
};

pub(crate) const HEADERS: &[Hostile] = &[
    Hostile { name: "headers-no-sections", make: |elf| patched(elf, &[(E_SHOFF, &[0; 8]), (E_SHNUM, &[0; 2])]) },
    Hostile { name: "headers-sections-by-the-first", make: counted_by_the_first },
    Hostile { name: "headers-segments", make: |elf| patched(elf, &[(E_PHNUM, &[0xfe, 0xff])]) },
    Hostile { name: "headers-segments-by-the-first", make: |elf| patched(elf, &[(E_PHNUM, &[0xff, 0xff])]) },
    Hostile { name: "headers-segments-beyond", make: |elf| patched(elf, &[(E_PHOFF, &[0xff; 8])]) },
    Hostile { name: "headers-sections-beyond", make: |elf| patched(elf, &[(E_SHOFF, &[0xf0; 8])]) },
    Hostile { name: "headers-names-beyond", make: |elf| patched(elf, &[(E_SHSTRNDX, &[0xfe, 0xfe])]) },
    Hostile { name: "headers-no-size", make: |elf| patched(elf, &[(E_SHENTSIZE, &[0; 2]), (E_PHENTSIZE, &[0; 2])]) },
    Hostile { name: "headers-32-bits", make: |elf| patched(elf, &[(4, &[1])]) },
    Hostile { name: "headers-big-endian", make: |elf| patched(elf, &[(5, &[2])]) },
    Hostile { name: "headers-overlapping", make: overlapping },
    Hostile { name: "headers-endless-segment", make: |elf| segment(elf, PT_LOAD, 0x1000, u64::MAX - 0xfff) },
    Hostile { name: "headers-endless-notes", make: |elf| segment(elf, PT_NOTE, 0, 1 << 62) },
    Hostile { name: "headers-endless-unwinding", make: |elf| segment(elf, PT_GNU_EH_FRAME, 64, u64::MAX) },
    Hostile { name: "headers-wrapping-section", make: wrapping },
    Hostile { name: "headers-many-sections", make: many_sections },
    Hostile { name: "notes-that-lie", make: |elf| notes(elf, &[(u32::MAX, u32::MAX, 3), (4, u32::MAX - 3, 3)]) },
    Hostile { name: "notes-empty", make: |elf| notes(elf, &[(0, 0, 0); 1 << 20]) },
    Hostile { name: "notes-large-build-id", make: large_build_id },
    Hostile { name: "go-functions", make: |elf| go(elf, u64::MAX, 0) },
    Hostile { name: "go-tables", make: |elf| go(elf, 1 << 20, u64::MAX - 64) },
];

fn patched(elf: &Elf, patches: &[(usize, &[u8])]) -> Result<Vec<u8>> {
    let mut bytes = elf.clone().build()?;
    patches.iter().for_each(|(at, value)| set(&mut bytes, *at, value));
    Ok(bytes)
}

/// How many sections there are stands in the first one, when it does not fit into the header.
fn counted_by_the_first(elf: &Elf) -> Result<Vec<u8>> {
    let mut elf = elf.clone();
    let first = elf.section("")?;
    (first.size, first.link) = (1 << 58, u32::MAX);
    let mut bytes = elf.build()?;
    set(&mut bytes, E_SHNUM, &[0; 2]);
    set(&mut bytes, E_SHSTRNDX, &[0xff; 2]);
    Ok(bytes)
}

fn segment(elf: &Elf, kind: u32, offset: u64, size: u64) -> Result<Vec<u8>> {
    let mut bytes = elf.clone().build()?;
    let at = program_header(&bytes, kind)?;
    set(&mut bytes, at + 8, &offset.to_le_bytes());
    set(&mut bytes, at + 32, &size.to_le_bytes());
    set(&mut bytes, at + 40, &size.to_le_bytes());
    Ok(bytes)
}

/// Every segment that is loaded has all of the file, each at an address of its own.
fn overlapping(elf: &Elf) -> Result<Vec<u8>> {
    let mut bytes = elf.clone().build()?;
    let first = program_header(&bytes, PT_LOAD)?;
    let size = (bytes.len() as u64).to_le_bytes();
    for (index, address) in [0_u64, 0x1000, 0x10, u64::MAX - 0x2000].into_iter().enumerate() {
        let at = first + index * super::PROGRAM_HEADER;
        set(&mut bytes, at + 8, &0_u64.to_le_bytes());
        set(&mut bytes, at + 16, &address.to_le_bytes());
        set(&mut bytes, at + 32, &size);
    }
    Ok(bytes)
}

fn wrapping(elf: &Elf) -> Result<Vec<u8>> {
    let mut elf = elf.clone();
    for name in [".symtab", ".eh_frame", ".strtab"] {
        let section = elf.section(name)?;
        (section.offset, section.size) = (u64::MAX - 15, 0x1000);
    }
    elf.build()
}

/// As many as there can be, all with one name of many megabytes.
fn many_sections(elf: &Elf) -> Result<Vec<u8>> {
    let mut bytes = elf.clone().with(".names", vec![b'n'; 8 << 20]).build()?;
    let names = bytes.len() as u64;
    bytes.extend(vec![b'n'; 8 << 20]);
    bytes.push(0);
    let at = bytes.len();
    let mut header = Bytes::default();
    header.u32(0).u32(3).u64(0).u64(0).u64(names).u64((8 << 20) + 1);
    bytes.extend(header.u32(0).u32(0).u64(1).u64(0).done().repeat(0xfe00));
    set(&mut bytes, E_SHOFF, &(at as u64).to_le_bytes());
    set(&mut bytes, E_SHNUM, &0xfe00_u16.to_le_bytes());
    set(&mut bytes, E_SHSTRNDX, &1_u16.to_le_bytes());
    debug_assert_eq!(bytes.len(), at + 0xfe00 * SECTION_HEADER);
    Ok(bytes)
}

/// In the section and in the segment of notes. Each has the lengths of its name and of its content.
fn notes(elf: &Elf, notes: &[(u32, u32, u32)]) -> Result<Vec<u8>> {
    let mut content = Bytes::default();
    for (name, size, kind) in notes {
        content.u32(*name).u32(*size).u32(*kind);
    }
    with_notes(elf, content.done())
}

fn large_build_id(elf: &Elf) -> Result<Vec<u8>> {
    let size = 32 << 20;
    with_notes(elf, Bytes::default().u32(4).u32(size).u32(3).text("GNU").raw(&vec![9; usize::try_from(size)?]).done())
}

fn with_notes(elf: &Elf, content: Vec<u8>) -> Result<Vec<u8>> {
    let size = content.len() as u64;
    let mut elf = elf.clone();
    elf.put(".note.gnu.build-id", content).kind = SHT_NOTE;
    let mut bytes = elf.build()?;
    let sections = Elf::read(bytes.clone())?.sections;
    let offset = sections.iter().find(|section| section.name == b".note.gnu.build-id").map_or(0, |note| note.offset);
    let at = program_header(&bytes, PT_NOTE)?;
    set(&mut bytes, at + 8, &offset.to_le_bytes());
    set(&mut bytes, at + 32, &size.to_le_bytes());
    Ok(bytes)
}

/// The table of Go's functions since version 1.20, with so many of them, and its parts there.
fn go(elf: &Elf, functions: u64, parts: u64) -> Result<Vec<u8>> {
    let mut table = Bytes::default();
    table.u32(0xffff_fff1).u16(0).u8(1).u8(8).u64(functions).u64(functions).u64(elf.text.start);
    table.u64(parts).u64(parts).u64(parts).u64(parts).u64(parts).repeat(&[0xff; 64], 64);
    elf.clone().with(".gopclntab", table.done()).with(".go.buildinfo", vec![0xff; 64]).build()
}
