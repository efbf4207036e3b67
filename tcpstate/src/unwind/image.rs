//! What unwinding and symbolization need of an ELF file.
//!
//! The sections are read, not mapped: whoever owns the file can truncate it, and a mapping of it would then kill the tracer.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use object::{
    LittleEndian, ReadCache, elf,
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};

/// Larger unwind sections are not loaded. Chromium, one of the largest programs there are, has 30 MiB.
const MAX_SECTION: u64 = 256 * 1024 * 1024;

/// Why a mapped file is no module.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// It is of another kind of processor.
    #[error("not a 64-bit little-endian ELF file")]
    OtherClass,
    /// Its headers contradict themselves.
    #[error("malformed ELF file: {0}")]
    Malformed(#[from] object::Error),
}

/// A loadable segment (`PT_LOAD`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Where it is in the file.
    pub(super) offset: u64,
    /// How much of it is in the file.
    pub(super) size: u64,
    /// Where it says it wants to be.
    pub(super) address: u64,
    /// Whether it holds code.
    pub(super) executable: bool,
}

/// A section's bytes, shared by everything that reads them.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Where it says it wants to be.
    pub(super) address: u64,
    /// Its bytes.
    pub(super) data: Arc<[u8]>,
}

/// An ELF file, as far as it matters here.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) segments: Vec<Segment>,
    pub(super) entry: u64,
    pub(super) build_id: Option<Vec<u8>>,
    pub(super) eh_frame: Option<Section>,
    pub(super) eh_frame_hdr: Option<Section>,
    pub(super) debug_frame: Option<Section>,
    /// Addresses of `.text` and `.got`, to which pointers in unwind info may be relative.
    pub(super) text: u64,
    pub(super) got: u64,
    /// Whether the Go linker made it.
    pub(super) go: bool,
    /// Whether it carries DWARF debug info.
    pub(super) dwarf: bool,
}

impl Image {
    pub(super) fn read(file: &File) -> Result<Self, ImageError> {
        let mut magic = [0; 6];
        file.read_exact_at(&mut magic, 0).map_err(|_| ImageError::NotElf)?;
        match &magic {
            b"\x7fELF\x02\x01" => {}
            [0x7f, b'E', b'L', b'F', ..] => return Err(ImageError::OtherClass),
            _ => return Err(ImageError::NotElf),
        }
        let cache = ReadCache::new(file);
        let header = elf::FileHeader64::<LittleEndian>::parse(&cache)?;
        let endian = LittleEndian;
        let mut image = Self {
            segments: Vec::new(),
            entry: header.e_entry(endian),
            build_id: None,
            eh_frame: None,
            eh_frame_hdr: None,
            debug_frame: None,
            text: 0,
            got: 0,
            go: false,
            dwarf: false,
        };
        for segment in header.program_headers(endian, &cache)? {
            match segment.p_type(endian) {
                elf::PT_LOAD => image.segments.push(Segment {
                    offset: segment.p_offset(endian),
                    size: segment.p_filesz(endian),
                    address: segment.p_vaddr(endian),
                    executable: segment.p_flags(endian) & elf::PF_X != 0,
                }),
                elf::PT_NOTE if image.build_id.is_none() => {
                    image.build_id = segment.notes(endian, &cache).ok().flatten().and_then(|mut notes| {
                        while let Ok(Some(note)) = notes.next() {
                            if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
                                return Some(note.desc().to_vec());
                            }
                        }
                        None
                    });
                }
                _ => {}
            }
        }
        let sections = header.sections(endian, &cache)?;
        for section in sections.iter() {
            let stored = || load(file, section.sh_addr(endian), section.sh_offset(endian), section.sh_size(endian));
            let plain = section.sh_type(endian) != elf::SHT_NOBITS
                && section.sh_flags(endian) & u64::from(elf::SHF_COMPRESSED) == 0;
            match sections.section_name(endian, section).unwrap_or_default() {
                b".eh_frame" if plain => image.eh_frame = stored()?,
                b".eh_frame_hdr" if plain => image.eh_frame_hdr = stored()?,
                b".debug_frame" if plain => image.debug_frame = stored()?,
                b".text" => image.text = section.sh_addr(endian),
                b".got" => image.got = section.sh_addr(endian),
                b".gopclntab" => image.go = true,
                b".debug_info" | b".zdebug_info" => image.dwarf = true,
                _ => {}
            }
        }
        Ok(image)
    }
}

fn load(file: &File, address: u64, offset: u64, size: u64) -> io::Result<Option<Section>> {
    if size == 0 || size > MAX_SECTION || offset.saturating_add(size) > file.metadata()?.len() {
        return Ok(None);
    }
    let mut data = vec![0; size as usize];
    file.read_exact_at(&mut data, offset)?;
    Ok(Some(Section { address, data: data.into() }))
}
