//! `/proc/PID/maps`.

use std::{borrow::Cow, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

/// One mapping of a process: one line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// Whether its memory holds code.
    pub executable: bool,
    /// Offset of `start` in the file, bytes.
    pub offset: u64,
    /// Major and minor number of the file system's device. Not always `st_dev`: overlayfs and btrfs differ.
    pub device: (u32, u32),
    /// Inode number; 0 where no file is mapped.
    pub inode: u64,
    /// The last column: a path, `[vdso]`, `[stack]`, `[anon:…]` or nothing.
    name: Cow<'a, [u8]>,
}

/// The file behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedFile<'a> {
    /// Its path in the mount namespace of the process. Chosen by whoever made the file: escape it before showing it.
    pub path: &'a Path,
    /// Whether it has no name any more: deleted, replaced, or a memfd.
    pub deleted: bool,
}

impl<'a> Mapping<'a> {
    /// The last column as it stands; the newline that a path may contain is restored.
    #[cfg(test)]
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The file that is mapped, if one is.
    #[must_use]
    pub fn file(&self) -> Option<MappedFile<'_>> {
        if self.inode == 0 || self.name.first() != Some(&b'/') {
            return None;
        }
        let (path, deleted) = match self.name.strip_suffix(b" (deleted)") {
            Some(path) => (path, true),
            None => (&*self.name, false),
        };
        Some(MappedFile { path: Path::new(OsStr::from_bytes(path)), deleted })
    }

    /// Whether this is the code that the kernel maps into every process.
    pub(crate) fn is_vdso(&self) -> bool {
        self.inode == 0 && *self.name == *b"[vdso]"
    }

    /// Reads one line (`show_map_vma()`, `fs/proc/task_mmu.c`, Linux 6.18).
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (start, end) = split(fields.next()?, b'-').filter(|(start, end)| start < end)?;
        let permissions = fields.next()?;
        let offset = hex(fields.next()?)?;
        let (major, minor) = split(fields.next()?, b':')?;
        let inode = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        Some(Self {
            start,
            end,
            executable: permissions.get(2) == Some(&b'x'),
            offset,
            device: (major.try_into().ok()?, minor.try_into().ok()?),
            inode,
            name: unescape(name),
        })
    }
}

/// The mappings in the text of `/proc/PID/maps`, by address. What is no mapping is passed over.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(Mapping::parse)
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn split(pair: &[u8], separator: u8) -> Option<(u64, u64)> {
    let at = pair.iter().position(|&byte| byte == separator)?;
    Some((hex(&pair[..at])?, hex(&pair[at + 1..])?))
}

/// Undoes `seq_file_path(m, file, "\n")`: a newline, and nothing else, is written as `\012`. A path that contains these
/// four characters itself is mistaken; whoever opens it compares the inode.
fn unescape(name: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = br"\012";
    if !name.windows(NEWLINE.len()).any(|window| window == NEWLINE) {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Mapping<'_> {
        parse(line.as_bytes()).next().expect("a mapping")
    }

    #[test]
    fn a_mapped_file() {
        let mapping =
            one("7f5d4c028000-7f5d4c17d000 r-xp 00028000 fe:01 1048601                    /usr/lib/libc.so.6\n");
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x7f5d_4c02_8000, 0x7f5d_4c17_d000, 0x28000));
        assert!(mapping.executable);
        assert!(!one("7f5d4c17d000-7f5d4c17e000 rw-p 00028000 fe:01 1048601 /usr/lib/libc.so.6").executable);
        assert_eq!((mapping.device, mapping.inode), ((0xfe, 1), 1_048_601));
        assert_eq!(mapping.file(), Some(MappedFile { path: Path::new("/usr/lib/libc.so.6"), deleted: false }));
    }

    #[test]
    fn names_that_are_no_files() {
        assert!(one("7ffe0000-7ffe2000 r-xp 00000000 00:00 0      [vdso]").is_vdso());
        assert_eq!(one("7ffe0000-7ffe2000 r-xp 00000000 00:00 0").file(), None);
        assert_eq!(one("7ffe0000-7ffe2000 r-xp 00000000 00:00 0 [anon:/bin/sh]").file(), None);
        let memfd = one("7ffe0000-7ffe2000 r-xp 00000000 00:01 7 /memfd:jit (deleted)");
        assert_eq!(memfd.file(), Some(MappedFile { path: Path::new("/memfd:jit"), deleted: true }));
    }

    #[test]
    fn hostile_paths_stay_on_their_line() {
        let text =
            b"1000-2000 r-xp 0 0:1 7 /tmp/a\\0121000-9000 rwxp 0 0:0 0 \\040x \xff (deleted)\n3000-4000 rw-p 0 0:0 0";
        let mappings: Vec<_> = parse(text).collect();
        assert_eq!(mappings.len(), 2);
        let file = mappings[0].file().expect("a file");
        assert_eq!(file.path.as_os_str().as_bytes(), b"/tmp/a\n1000-9000 rwxp 0 0:0 0 \\040x \xff");
        assert!(file.deleted);
    }

    #[test]
    fn own_mappings_hold_this_function() {
        let text = fs::read("/proc/self/maps").expect("own maps");
        let here = own_mappings_hold_this_function as fn() as usize as u64;
        let mapping = parse(&text).find(|mapping| (mapping.start..mapping.end).contains(&here)).expect("mapped");
        let file = mapping.file().expect("a file");
        assert_eq!(file.path, std::env::current_exe().expect("own path"));
        assert!(mapping.executable);
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&text).for_each(|mapping| {
                let _ = mapping.file();
            });
        }
    }
}
