//! Makes ELF files that are not what they should be, of one that is: its sections changed, and others added.
//!
//! What is loaded of it stays where it was, so that its code runs: an attacker maps the file as it is.

pub(crate) mod bytes;
pub(crate) mod compressed;
pub(crate) mod dwarf;
pub(crate) mod headers;
pub(crate) mod lines;
pub(crate) mod links;
pub(crate) mod symbols;
pub(crate) mod unwinding;

use anyhow::{Context, Result};
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _,
    elf::{FileHeader64, PT_GNU_EH_FRAME},
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _},
};

use bytes::Bytes;

/// Sizes of the structures of ELF.
pub(crate) const HEADER: usize = 64;
pub(crate) const PROGRAM_HEADER: usize = 56;
pub(crate) const SECTION_HEADER: usize = 64;
pub(crate) const SYMBOL: usize = 24;

/// Where fields are in the header.
pub(crate) const E_PHOFF: usize = 32;
pub(crate) const E_SHOFF: usize = 40;
pub(crate) const E_PHENTSIZE: usize = 54;
pub(crate) const E_PHNUM: usize = 56;
pub(crate) const E_SHENTSIZE: usize = 58;
pub(crate) const E_SHNUM: usize = 60;
pub(crate) const E_SHSTRNDX: usize = 62;

/// A file in the making.
#[derive(Clone, Debug)]
pub(crate) struct Elf {
    bytes: Vec<u8>,
    sections: Vec<Section>,
    /// Of the code.
    pub(crate) text: std::ops::Range<u64>,
    /// Where the code is that an attacker calls.
    pub(crate) entry: u64,
}

/// Fields of a section header by their names in ELF, and what is put into the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) entry_size: u64,
    /// Where the file has it already, nothing.
    data: Option<Vec<u8>>,
}

/// One way to make a file hostile.
#[derive(Clone, Copy)]
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&Elf) -> Result<Vec<u8>>,
}

impl Elf {
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self> {
        let file = ElfFile64::<LittleEndian>::parse(&*bytes)?;
        let text = file.section_by_name(".text").context("no `.text`")?;
        let entry = file.symbols().find(|symbol| symbol.name() == Ok("hostile_call")).context("no `hostile_call`")?;
        let (text, entry) = (text.address()..text.address() + text.size(), entry.address());
        let sections = file.elf_section_table().iter().map(|header| {
            let name = file.elf_section_table().section_name(LittleEndian, header)?;
            Ok(Section {
                name: name.to_vec(),
                kind: header.sh_type(LittleEndian),
                flags: header.sh_flags(LittleEndian),
                address: header.sh_addr(LittleEndian),
                offset: header.sh_offset(LittleEndian),
                size: header.sh_size(LittleEndian),
                link: header.sh_link(LittleEndian),
                info: header.sh_info(LittleEndian),
                entry_size: header.sh_entsize(LittleEndian),
                data: None,
            })
        });
        let sections = sections.collect::<Result<_>>()?;
        Ok(Self { bytes, sections, text, entry })
    }

    /// Has `data` in the section of that name, which is added where there is none.
    pub(crate) fn with(mut self, name: &str, data: Vec<u8>) -> Self {
        self.put(name, data);
        self
    }

    /// The same; its header can be changed further.
    pub(crate) fn put(&mut self, name: &str, data: Vec<u8>) -> &mut Section {
        let index = self.sections.iter().position(|section| section.name == name.as_bytes()).unwrap_or_else(|| {
            self.sections.push(Section { name: name.into(), kind: object::elf::SHT_PROGBITS, ..Section::default() });
            self.sections.len() - 1
        });
        let section = &mut self.sections[index];
        section.size = data.len() as u64;
        section.data = Some(data);
        section
    }

    pub(crate) fn section(&mut self, name: &str) -> Result<&mut Section> {
        let found = self.sections.iter_mut().find(|section| section.name == name.as_bytes());
        found.with_context(|| format!("no `{name}`"))
    }

    /// The file. Headers of sections come last.
    pub(crate) fn build(mut self) -> Result<Vec<u8>> {
        let mut names = vec![0];
        let mut starts = Vec::with_capacity(self.sections.len());
        for section in &self.sections {
            starts.push(u32::try_from(names.len())?);
            names.extend_from_slice(&section.name);
            names.push(0);
        }
        let names_at = self.sections.iter().position(|section| section.name == b".shstrtab").context("no names")?;
        self.put(".shstrtab", names);
        let mut headers = Bytes::default();
        let (mut unwind_table, bytes) = (None, &mut self.bytes);
        for (section, start) in self.sections.iter_mut().zip(starts) {
            if let Some(data) = &section.data {
                bytes.resize(bytes.len().next_multiple_of(16), 0);
                section.offset = bytes.len() as u64;
                bytes.extend_from_slice(data);
                if section.name == b".eh_frame_hdr" {
                    unwind_table = Some((section.offset, section.size));
                }
            }
            headers.u32(start).u32(section.kind).u64(section.flags).u64(section.address).u64(section.offset);
            headers.u64(section.size).u32(section.link).u32(section.info).u64(1).u64(section.entry_size);
        }
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let at = bytes.len();
        bytes.extend(headers.done());
        set(bytes, E_SHOFF, &(at as u64).to_le_bytes());
        set(bytes, E_SHNUM, &u16::try_from(self.sections.len())?.to_le_bytes());
        set(bytes, E_SHSTRNDX, &u16::try_from(names_at)?.to_le_bytes());
        if let Some((offset, size)) = unwind_table {
            let at = program_header(bytes, PT_GNU_EH_FRAME)?;
            set(bytes, at + 8, &offset.to_le_bytes());
            set(bytes, at + 32, &size.to_le_bytes());
        }
        Ok(self.bytes)
    }
}

/// Writes over what is there.
pub(crate) fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Where the program header of a kind is.
pub(crate) fn program_header(bytes: &[u8], kind: u32) -> Result<usize> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let headers = header.program_headers(LittleEndian, bytes)?;
    let index = headers.iter().position(|header| header.p_type(LittleEndian) == kind).context("no program header")?;
    Ok(HEADER + index * PROGRAM_HEADER)
}

/// Every way there is.
pub(crate) fn all() -> Vec<Hostile> {
    [
        links::LINKS,
        compressed::COMPRESSED,
        dwarf::DWARF,
        lines::LINES,
        unwinding::UNWINDING,
        symbols::SYMBOLS,
        headers::HEADERS,
    ]
    .concat()
}
