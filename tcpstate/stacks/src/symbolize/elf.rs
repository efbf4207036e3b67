//! ELF files as far as names need them: where their sections, symbols and links to other files are.
//!
//! A file is mapped from its descriptor and never opened by a path. Its headers are read once; every number in them was chosen by
//! whoever made the file.

mod file_bytes;
mod inflate;

use std::{fs::File, io, ops::Range};

use object::{
    LittleEndian, elf,
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};

use self::file_bytes::FileBytes;
use self::inflate::MAX_INFLATED_OF_FILE;

/// How many headers of sections are looked at. A program that has a section for each function has one file's worth of them.
const MAX_SECTIONS: usize = 1 << 16;
/// The longest build id that is taken for one, bytes. Linkers write 8 to 32.
const MAX_BUILD_ID: usize = 64;

/// What is read of a file besides its symbols.
const SECTIONS: [&str; 14] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_sup",
    ".gnu_debugaltlink",
    ".gnu_debuglink",
    ".gopclntab",
    ".text",
];

/// Why a file gives no names.
#[derive(Debug, thiserror::Error)]
pub(super) enum ElfError {
    /// It cannot be mapped.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its headers contradict themselves.
    #[error("malformed ELF file: {0}")]
    Malformed(#[from] object::Error),
}

/// A section that is of use.
#[derive(Debug)]
struct Part {
    name: &'static str,
    storage: Storage,
    /// Where it is in the file.
    place: Range<usize>,
    address: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    Plain,
    /// `SHF_COMPRESSED`.
    Compressed,
    /// `.zdebug_…`.
    Gnu,
}

/// A table of symbols and its strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct SymbolTable<'a> {
    /// `Elf64_Sym`, one after another.
    pub(super) symbols: &'a [u8],
    /// The names.
    pub(super) strings: &'a [u8],
}

/// An ELF file.
#[derive(Debug)]
pub(super) struct ObjectFile {
    bytes: FileBytes,
    parts: Vec<Part>,
    /// `.symtab` and `.dynsym`: symbols and strings.
    symbols: [Option<[Range<usize>; 2]>; 2],
    /// The addresses of each section.
    spans: Vec<Range<u64>>,
    build_id: Option<Vec<u8>>,
    entry: u64,
}

/// The bytes of a section.
#[derive(Debug)]
pub(super) enum SectionContents {
    /// As they are in the file.
    Mapped(Range<usize>),
    /// As they were before they were compressed.
    Inflated(Vec<u8>),
}

impl SectionContents {
    /// `file` is that of which it is.
    pub(super) fn of<'a>(&'a self, file: &'a ObjectFile) -> &'a [u8] {
        match self {
            Self::Mapped(place) => file.at(place),
            Self::Inflated(bytes) => bytes,
        }
    }

    /// What it takes of memory, bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Mapped(_) => 0,
            Self::Inflated(bytes) => bytes.capacity(),
        }
    }
}

impl ObjectFile {
    /// Reads the headers of `file`.
    pub(super) fn read(file: &File) -> Result<Self, ElfError> {
        let bytes = FileBytes::new(file)?;
        let (endian, data) = (LittleEndian, &*bytes);
        let header = elf::FileHeader64::<LittleEndian>::parse(data)?;
        // What comes from elsewhere than the start of the file may be cut off; then there are no sections.
        let sections = header.sections(endian, data)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut symbols = [None, None];
        let mut spans = Vec::new();
        let mut build_id = None;
        for section in sections.iter().take(MAX_SECTIONS) {
            let address = section.sh_addr(endian);
            spans.push(address..address.saturating_add(section.sh_size(endian)));
            let Some((offset, size)) = section.file_range(endian) else { continue };
            let Some(place) = place(offset, size, data.len()) else { continue };
            match section.sh_type(endian) {
                kind @ (elf::SHT_SYMTAB | elf::SHT_DYNSYM) => {
                    let strings =
                        sections.section(section.link(endian)).ok().and_then(|strings| strings.file_range(endian));
                    let strings = strings.and_then(|(offset, size)| self::place(offset, size, data.len()));
                    let table = &mut symbols[usize::from(kind == elf::SHT_DYNSYM)];
                    *table = table.take().or(strings.map(|strings| [place, strings]));
                    continue;
                }
                elf::SHT_NOTE if build_id.is_none() => {
                    if let Ok(Some(notes)) = section.notes(endian, data) {
                        build_id = id_in(notes);
                    }
                }
                _ => {}
            }
            let name = sections.section_name(endian, section).unwrap_or_default();
            let (name, storage) = if section.sh_flags(endian) & u64::from(elf::SHF_COMPRESSED) != 0 {
                (wanted(name), Storage::Compressed)
            } else if let Some(rest) = name.strip_prefix(b".z") {
                (SECTIONS.into_iter().find(|wanted| wanted.as_bytes().strip_prefix(b".") == Some(rest)), Storage::Gnu)
            } else {
                (wanted(name), Storage::Plain)
            };
            if let Some(name) = name.filter(|name| parts.iter().all(|known| known.name != *name)) {
                parts.push(Part { name, storage, place, address });
            }
        }
        if build_id.is_none() {
            let segments = header.program_headers(endian, data).unwrap_or_default();
            build_id = segments.iter().find_map(|segment| id_in(segment.notes(endian, data).ok()??));
        }
        let entry = header.e_entry(endian);
        Ok(Self { parts, symbols, spans, build_id, entry, bytes })
    }

    fn at(&self, place: &Range<usize>) -> &[u8] {
        self.bytes.get(place.clone()).unwrap_or_default()
    }

    fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number that its linker gave it.
    pub(super) fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    /// Whether it has a section of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.part(name).is_some()
    }

    /// A section that is not compressed.
    pub(super) fn plain(&self, name: &str) -> Option<&[u8]> {
        self.part(name).filter(|part| part.storage == Storage::Plain).map(|part| self.at(&part.place))
    }

    /// A section, inflated if need be. All that were inflated before take `taken` bytes. Nothing where there is none, or none that can
    /// be read.
    pub(super) fn contents(&self, name: &str, taken: usize) -> SectionContents {
        let Some(part) = self.part(name) else { return SectionContents::Mapped(0..0) };
        let (stored, room) = (self.at(&part.place), MAX_INFLATED_OF_FILE.saturating_sub(taken));
        let inflated = match part.storage {
            Storage::Plain => return SectionContents::Mapped(part.place.clone()),
            Storage::Compressed => inflate::elf(stored, room),
            Storage::Gnu => inflate::gnu(stored, room),
        };
        inflated.map_or_else(
            |error| {
                tracing::debug!(%error, "section `{name}` is not read");
                SectionContents::Mapped(0..0)
            },
            SectionContents::Inflated,
        )
    }

    /// Where `.text` is; 0 when there is none.
    pub(super) fn text(&self) -> u64 {
        self.part(".text").map_or(0, |part| part.address)
    }

    /// Address where the program begins; 0 in most libraries.
    pub(super) fn entry(&self) -> u64 {
        self.entry
    }

    /// The symbols of all functions that were not stripped (`.symtab`).
    pub(super) fn symbols(&self) -> Option<SymbolTable<'_>> {
        self.table(0)
    }

    /// The symbols that other files may use (`.dynsym`).
    pub(super) fn dynamic_symbols(&self) -> Option<SymbolTable<'_>> {
        self.table(1)
    }

    fn table(&self, index: usize) -> Option<SymbolTable<'_>> {
        let [symbols, strings] = self.symbols[index].as_ref()?;
        Some(SymbolTable { symbols: self.at(symbols), strings: self.at(strings) })
    }

    /// Where the section with this number ends, if `address` is in it.
    pub(super) fn is_in_section(&self, section: u16, address: u64) -> bool {
        self.spans.get(usize::from(section)).is_some_and(|span| span.contains(&address))
    }
}

fn wanted(name: &[u8]) -> Option<&'static str> {
    // Go's linker puts its table where the loader relocates it.
    let name = if name == b".data.rel.ro.gopclntab" { b".gopclntab" } else { name };
    SECTIONS.into_iter().find(|wanted| wanted.as_bytes() == name)
}

/// A place in a file of `length` bytes.
fn place(offset: u64, size: u64, length: usize) -> Option<Range<usize>> {
    let (start, end) = (usize::try_from(offset).ok()?, usize::try_from(offset.checked_add(size)?).ok()?);
    (end <= length).then_some(start..end)
}

fn id_in(mut notes: object::read::elf::NoteIterator<'_, elf::FileHeader64<LittleEndian>>) -> Option<Vec<u8>> {
    while let Ok(Some(note)) = notes.next() {
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(LittleEndian) == elf::NT_GNU_BUILD_ID {
            return Some(note.desc().to_vec()).filter(|id| (1..=MAX_BUILD_ID).contains(&id.len()));
        }
    }
    None
}
