//! ELF files and debug info, made as told.

use std::{fs::File, io::Write, os::unix::fs::FileExt};

use flate2::{Compression, write::ZlibEncoder};
use gimli::constants::{DwAt, DwForm, DwTag};
use rustix::fs::{MemfdFlags, memfd_create};

/// A section: name, type (`sh_type`), flags, section that belongs to it, content.
type MadeSection = (String, u32, u64, u32, Vec<u8>);

/// An ELF file with these sections.
#[derive(Clone, Debug, Default)]
pub(in crate::symbolize) struct Made(Vec<MadeSection>);

impl Made {
    /// With a section of this content, in place of one of that name.
    pub(in crate::symbolize) fn with(mut self, name: &str, content: Vec<u8>) -> Self {
        self.0.retain(|(known, ..)| known != name);
        self.0.push((name.to_owned(), 1, 0, 0, content));
        self
    }

    /// With a section whose content is stored compressed, and said to inflate to `claim` bytes.
    pub(in crate::symbolize) fn with_compressed(mut self, name: &str, claim: u64, content: &[u8]) -> Self {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).expect("memory");
        let compressed = encoder.finish().expect("memory");
        let header = [&1_u64.to_le_bytes()[..], &claim.to_le_bytes(), &1_u64.to_le_bytes()].concat();
        self.0.push((name.to_owned(), 1, 0x800, 0, [header, compressed].concat()));
        self
    }

    /// With a note of the GNU tools.
    pub(in crate::symbolize) fn with_note(mut self, name: &str, kind: u32, content: &[u8]) -> Self {
        let padding = vec![0; (4 - content.len() % 4) % 4];
        let sizes = [4, content.len() as u32, kind].map(u32::to_le_bytes).concat();
        self.0.push((name.to_owned(), 7, 0, 0, [&sizes[..], b"GNU\0", content, &padding].concat()));
        self
    }

    /// With a table of symbols.
    pub(in crate::symbolize) fn with_symbols(mut self, symbols: Vec<u8>, strings: Vec<u8>) -> Self {
        // Section 0 is none.
        let strings_at = self.0.len() as u32 + 1;
        self.0.push((".strtab".to_owned(), 3, 0, 0, strings));
        self.0.push((".symtab".to_owned(), 2, 0, strings_at, symbols));
        self
    }

    /// Changes what is in a section.
    pub(in crate::symbolize) fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let section = self.0.iter_mut().find(|(known, ..)| known == name).expect("there is one");
        change(&mut section.4);
    }

    /// The whole file.
    pub(in crate::symbolize) fn bytes(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut bytes = vec![0; 64];
        let mut headers = vec![0; 64];
        let string_table = (".shstrtab".to_owned(), 3, 0, 0, Vec::new());
        for (name, kind, flags, link, content) in self.0.iter().chain([&string_table]) {
            let name_at = names.len() as u32;
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            let content = if name == ".shstrtab" { &names } else { content };
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let (offset, size) = (bytes.len() as u64, content.len() as u64);
            bytes.extend_from_slice(content);
            headers.extend([&name_at.to_le_bytes()[..], &kind.to_le_bytes()].concat());
            headers.extend([*flags, 0, offset, size].map(u64::to_le_bytes).concat());
            headers.extend([&link.to_le_bytes()[..], &[0; 4], &1_u64.to_le_bytes(), &[0; 8]].concat());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let sections = self.0.len() as u16 + 2;
        let header = [
            // 64 bits, little-endian, a library for x86-64; no entry and no segments.
            &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0"[..],
            &[0, 0, bytes.len() as u64].map(u64::to_le_bytes).concat(),
            &[0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0],
            &[sections, sections - 1].map(u16::to_le_bytes).concat(),
        ];
        let header = header.concat();
        bytes[..64].copy_from_slice(&header);
        bytes.extend(headers);
        bytes
    }

    /// The whole file, open.
    pub(in crate::symbolize) fn file(&self) -> File {
        file(&self.bytes())
    }
}

/// A file with these bytes, open.
pub(in crate::symbolize) fn file(bytes: &[u8]) -> File {
    let file = File::from(memfd_create("made", MemfdFlags::CLOEXEC).expect("a memfd"));
    file.write_all_at(bytes, 0).expect("room");
    file
}

/// A number in LEB128.
pub(in crate::symbolize) fn uleb(number: u64) -> Vec<u8> {
    let mut left = number;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// The attributes of an entry, and how they are stored.
type Attributes = Vec<(DwAt, DwForm)>;

/// A table of abbreviations: code, tag, whether others are in it, attributes.
pub(in crate::symbolize) fn table(shapes: &[(u64, DwTag, bool, Attributes)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (code, tag, has_children, attributes) in shapes {
        bytes.extend([uleb(*code), uleb(u64::from(tag.0)), vec![u8::from(*has_children)]].concat());
        bytes.extend(
            attributes.iter().flat_map(|(name, form)| [uleb(u64::from(name.0)), uleb(u64::from(form.0))].concat()),
        );
        bytes.extend([0, 0]);
    }
    bytes.push(0);
    bytes
}

/// A unit of DWARF 4 with the table of abbreviations at `abbreviations`.
pub(in crate::symbolize) fn unit(abbreviations: u32, entries: &[u8]) -> Vec<u8> {
    let rest = [&4_u16.to_le_bytes()[..], &abbreviations.to_le_bytes(), &[8], entries].concat();
    [&(rest.len() as u32).to_le_bytes()[..], &rest].concat()
}

/// An entry of a shape, to be filled with the values of its attributes.
pub(in crate::symbolize) struct Filled(Vec<u8>);

/// An entry of the shape with this code.
pub(in crate::symbolize) fn entry(code: u64) -> Filled {
    Filled(uleb(code))
}

impl Filled {
    pub(in crate::symbolize) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(in crate::symbolize) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(in crate::symbolize) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(in crate::symbolize) fn text(mut self, value: &str) -> Self {
        self.0.extend([value.as_bytes(), &[0]].concat());
        self
    }

    pub(in crate::symbolize) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// A line table of DWARF 4 for the file `a.c`.
pub(in crate::symbolize) fn lines(program: &[u8]) -> Vec<u8> {
    lines_with(&[], program)
}

/// The same, with a directory of this name.
pub(in crate::symbolize) fn lines_with(directory: &[u8], program: &[u8]) -> Vec<u8> {
    let directory = if directory.is_empty() { Vec::new() } else { [directory, &[0]].concat() };
    let standard = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    let fixed = [1, 1, 1, (-5_i8) as u8, 14, 13];
    let header = [&fixed[..], &standard, &directory, &[0], b"a.c\0\0\0\0", &[0]].concat();
    let rest = [&4_u16.to_le_bytes()[..], &(header.len() as u32).to_le_bytes(), &header, program].concat();
    [&(rest.len() as u32).to_le_bytes()[..], &rest].concat()
}

/// An instruction of a line table: the address is this.
pub(in crate::symbolize) fn set_address(address: u64) -> Vec<u8> {
    [&[0, 9, 2][..], &address.to_le_bytes()].concat()
}

/// A line table's program: line 2 from `address` on, for `size` bytes.
pub(in crate::symbolize) fn program(address: u64, size: u64) -> Vec<u8> {
    [&set_address(address)[..], &[3, 1, 1, 2], &uleb(size), &[0, 1, 1]].concat()
}

/// A function in a table of symbols.
pub(in crate::symbolize) fn symbol(name: u32, address: u64, size: u64) -> Vec<u8> {
    [&name.to_le_bytes()[..], &[0x12, 0, 1, 0], &address.to_le_bytes(), &size.to_le_bytes()].concat()
}
