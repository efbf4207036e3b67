//! What unwinding and symbolization need of an ELF file.
//!
//! The sections are read, not mapped: whoever owns the file can truncate it, and a mapping of it would then kill the tracer.
//! Sizes are believed only so far: whoever owns the file also chose them.

use std::{fs::File, io, iter, os::unix::fs::FileExt, sync::Arc};

use object::{
    LittleEndian, ReadCache, ReadRef, elf,
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};

/// Larger unwind sections are not loaded, bytes. Node has 3 MiB, a browser ten times that.
const MAX_SECTION: u64 = 64 * 1024 * 1024;
/// Longest name of a file, bytes (`NAME_MAX`), with its end.
const LONGEST_NAME: u64 = 256;
/// Larger tables of headers and larger notes are not read, bytes.
const MAX_TABLE: u64 = 4 * 1024 * 1024;

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

/// A section that is stored as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Where it says it wants to be.
    pub(super) address: u64,
    offset: u64,
    size: u64,
}

impl Section {
    /// The text that it begins with, if that is as short as the name of a file.
    fn name(self, file: &File) -> Option<Vec<u8>> {
        let mut name = vec![0; self.size.min(LONGEST_NAME) as usize];
        file.read_exact_at(&mut name, self.offset).ok()?;
        name.truncate(name.iter().position(|&byte| byte == 0)?);
        Some(name)
    }

    /// Reads its bytes.
    pub(super) fn load(self, file: &File) -> io::Result<Arc<[u8]>> {
        if self.size > MAX_SECTION || self.offset.saturating_add(self.size) > file.metadata()?.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut data: Arc<[u8]> = iter::repeat_n(0, self.size as usize).collect();
        if let Some(data) = Arc::get_mut(&mut data) {
            file.read_exact_at(data, self.offset)?;
        }
        Ok(data)
    }
}

/// The headers of an ELF file, as far as they matter here.
#[derive(Debug, Default)]
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
    /// Whether it holds Go code.
    pub(super) go: bool,
    /// Whether it carries DWARF debug info.
    pub(super) dwarf: bool,
    /// The name of the file that has it instead (`.gnu_debuglink`).
    pub(super) debug_link: Option<Vec<u8>>,
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
        let data = Limited(&cache);
        let endian = LittleEndian;
        let header = elf::FileHeader64::<LittleEndian>::parse(data)?;
        let mut image = Self { entry: header.e_entry(endian), ..Self::default() };
        for segment in header.program_headers(endian, data)? {
            match segment.p_type(endian) {
                elf::PT_LOAD => image.segments.push(Segment {
                    offset: segment.p_offset(endian),
                    size: segment.p_filesz(endian),
                    address: segment.p_vaddr(endian),
                    executable: segment.p_flags(endian) & elf::PF_X != 0,
                }),
                elf::PT_NOTE if image.build_id.is_none() => image.build_id = build_id(segment, data),
                _ => {}
            }
        }
        let sections = header.sections(endian, data)?;
        for section in sections.iter() {
            let is_plain = section.sh_type(endian) != elf::SHT_NOBITS
                && section.sh_flags(endian) & u64::from(elf::SHF_COMPRESSED) == 0;
            let plain = is_plain.then(|| Section {
                address: section.sh_addr(endian),
                offset: section.sh_offset(endian),
                size: section.sh_size(endian),
            });
            match sections.section_name(endian, section).unwrap_or_default() {
                b".eh_frame" => image.eh_frame = plain,
                b".eh_frame_hdr" => image.eh_frame_hdr = plain,
                b".debug_frame" => image.debug_frame = plain,
                b".text" => image.text = section.sh_addr(endian),
                b".got" => image.got = section.sh_addr(endian),
                b".go.buildinfo" => image.go = true,
                b".debug_info" | b".zdebug_info" => image.dwarf = true,
                b".gnu_debuglink" => image.debug_link = plain.and_then(|section| section.name(file)),
                _ => {}
            }
        }
        Ok(image)
    }
}

fn build_id<'a>(segment: &elf::ProgramHeader64<LittleEndian>, data: Limited<'a>) -> Option<Vec<u8>> {
    let mut notes = segment.notes(LittleEndian, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(LittleEndian) == elf::NT_GNU_BUILD_ID {
            return Some(note.desc().to_vec());
        }
    }
    None
}

/// A file of which no piece is read that is larger than [`MAX_TABLE`]: memory for it is taken before it is read.
#[derive(Clone, Copy, Debug)]
struct Limited<'a>(&'a ReadCache<&'a File>);

impl<'a> ReadRef<'a> for Limited<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > MAX_TABLE { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: std::ops::Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let end = range.end.min(range.start.saturating_add(MAX_TABLE));
        self.0.read_bytes_at_until(range.start..end, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn own() -> File {
        File::open(env::current_exe().expect("own path")).expect("own executable")
    }

    #[test]
    fn own_executable() {
        let image = Image::read(&own()).expect("an ELF file");
        assert!(image.segments.iter().any(|segment| segment.executable));
        assert!(image.eh_frame.is_some() && image.eh_frame_hdr.is_some() && image.entry != 0 && !image.go);
    }

    #[test]
    fn what_is_no_elf_file() {
        let read = |path| Image::read(&File::open(path).expect("it opens"));
        assert!(matches!(read("/proc/self/status"), Err(ImageError::NotElf)));
        assert!(matches!(read("/dev/null"), Err(ImageError::NotElf)));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(wrong in prop::collection::vec((4_usize..4096, any::<u8>()), 1..20)) {
            let mut bytes = vec![0; 4096];
            own().read_exact_at(&mut bytes, 0).expect("a page");
            for (at, byte) in wrong {
                bytes[at] = byte;
            }
            let file = File::from(memfd_create("elf", MemfdFlags::CLOEXEC).expect("a memfd"));
            file.write_all_at(&bytes, 0).expect("room");
            // As large as a file can be, and without any content.
            file.set_len(1 << 40).expect("room");
            if let Ok(image) = Image::read(&file) {
                for section in [image.eh_frame, image.debug_frame].into_iter().flatten() {
                    let _ = section.load(&file);
                }
            }
        }
    }
}
