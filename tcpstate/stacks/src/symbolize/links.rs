//! Links from a file to those with its debug info.
//!
//! Files are not opened here: a [`DebugFiles`] does that by its own rules, and what it gives is checked against what the link says.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
};

use super::elf::ObjectFile;

/// The longest name of a file that a link may have, bytes (`PATH_MAX`).
const MAX_LINK: usize = 4096;
/// Larger files are not used by `.gnu_debuglink`, bytes: all of a file is read to check it.
const MAX_CHECKED: usize = 1 << 30;

/// Opens files that may have debug info, the likeliest first, by rules of its own: whoever made a file chose the names in it.
pub(crate) trait DebugFiles {
    /// The file with the debug info of the one that has this build id.
    fn by_build_id(&mut self, id: &[u8]) -> Vec<File>;

    /// The file that `.gnu_debuglink` names: one name, without a directory.
    fn by_link(&mut self, name: &Path) -> Vec<File>;

    /// The file that several debug files share, of which `.gnu_debugaltlink` or `.debug_sup` says path and build id.
    fn supplementary(&mut self, name: &Path, id: &[u8]) -> Vec<File>;
}

/// The file with the debug info of `file`.
pub(super) fn by_build_id_or_link(file: &ObjectFile, files: &mut dyn DebugFiles) -> Option<ObjectFile> {
    let by_build_id = file.build_id().and_then(|id| {
        let mut found = files.by_build_id(id).into_iter().filter_map(|file| read(&file));
        found.find(|found| found.build_id() == Some(id))
    });
    by_build_id.or_else(|| {
        let (name, checksum) = debug_link(file.plain(".gnu_debuglink")?)?;
        let mut found = files.by_link(name).into_iter().filter_map(|file| read(&file));
        found.find(|found| found.bytes().len() <= MAX_CHECKED && crc32fast::hash(found.bytes()) == checksum)
    })
}

/// The file that `file`, which has debug info, shares with others.
pub(super) fn supplementary(file: &ObjectFile, files: &mut dyn DebugFiles) -> Option<ObjectFile> {
    let alternative = file.plain(".gnu_debugaltlink").and_then(alternative_link);
    let (name, id) = alternative.or_else(|| supplementary_link(file.plain(".debug_sup")?))?;
    let mut found = files.supplementary(name, id).into_iter().filter_map(|file| read(&file));
    found.find(|found| found.build_id() == Some(id) || found.plain(".debug_sup").and_then(own_id) == Some(id))
}

fn read(file: &File) -> Option<ObjectFile> {
    ObjectFile::read(file).inspect_err(|error| tracing::debug!(%error, "no debug file")).ok()
}

/// Name and CRC-32 of a `.gnu_debuglink`. The name is one of a file: what leads to another directory is refused.
fn debug_link(section: &[u8]) -> Option<(&Path, u32)> {
    let (name, rest) = string(section)?;
    let name = Path::new(OsStr::from_bytes(name));
    let mut components = name.components();
    let is_plain = matches!(components.next(), Some(Component::Normal(first)) if first == name.as_os_str());
    let padding = (4 - (section.len() - rest.len()) % 4) % 4;
    let checksum = rest.get(padding..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    is_plain.then_some((name, checksum))
}

/// Path and build id of a `.gnu_debugaltlink`.
fn alternative_link(section: &[u8]) -> Option<(&Path, &[u8])> {
    let (path, id) = string(section)?;
    (!id.is_empty()).then_some((Path::new(OsStr::from_bytes(path)), id))
}

/// Path and number of a `.debug_sup` that leads to another file (DWARF 5, section 7.3.6).
fn supplementary_link(section: &[u8]) -> Option<(&Path, &[u8])> {
    let rest = section.strip_prefix(&[5, 0, 0])?;
    let (path, rest) = string(rest)?;
    Some((Path::new(OsStr::from_bytes(path)), counted(rest)?))
}

/// The number of a file to which others lead.
fn own_id(section: &[u8]) -> Option<&[u8]> {
    let (_, rest) = string_or_none(section.strip_prefix(&[5, 0, 1])?)?;
    counted(rest)
}

/// Bytes after their number. Build ids are short, so that takes one byte.
fn counted(section: &[u8]) -> Option<&[u8]> {
    let (&count, rest) = section.split_first()?;
    if count & 0x80 != 0 { None } else { rest.get(..usize::from(count)).filter(|id| !id.is_empty()) }
}

fn string(section: &[u8]) -> Option<(&[u8], &[u8])> {
    string_or_none(section).filter(|(string, _)| !string.is_empty())
}

fn string_or_none(section: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = section.iter().take(MAX_LINK).position(|&byte| byte == 0)?;
    Some((&section[..end], &section[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_links() {
        assert_eq!(debug_link(b"a.debug\0\x01\x02\0\0"), Some((Path::new("a.debug"), 0x201)));
        assert_eq!(debug_link(b"ab.debug\0\0\0\0\x01\x02\0\0"), Some((Path::new("ab.debug"), 0x201)));
        for name in ["/etc/shadow", "../a.debug", "a/b", "..", ".", "a/", "./a", ""] {
            let section = [name.as_bytes(), &[0; 12]].concat();
            assert_eq!(debug_link(&section), None, "{name}");
        }
        assert_eq!(debug_link(b"a.debug\0\x01\x02\0"), None);
        assert_eq!(debug_link(b"a.debug"), None);
        assert_eq!(debug_link(&[b'a'; 2 * MAX_LINK]), None);
    }

    #[test]
    fn links_to_shared_files() {
        assert_eq!(alternative_link(b"/x/y\0\x12\x34"), Some((Path::new("/x/y"), &b"\x12\x34"[..])));
        assert_eq!(alternative_link(b"/x/y\0"), None);
        assert_eq!(supplementary_link(b"\x05\0\0/x/y\0\x02\x12\x34"), Some((Path::new("/x/y"), &b"\x12\x34"[..])));
        assert_eq!(supplementary_link(b"\x05\0\x01/x/y\0\x02\x12\x34"), None, "it is one itself");
        assert_eq!(supplementary_link(b"\x05\0\0/x/y\0\x03\x12\x34"), None);
        assert_eq!(own_id(b"\x05\0\x01\0\x02\x12\x34"), Some(&b"\x12\x34"[..]));
    }

    proptest! {
        #[test]
        fn any_section(section in prop::collection::vec(prop_oneof![Just(0_u8), Just(5), any::<u8>()], 0..40)) {
            debug_link(&section);
            alternative_link(&section);
            supplementary_link(&section);
            own_id(&section);
        }
    }
}
