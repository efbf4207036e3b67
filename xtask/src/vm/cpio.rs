//! The archives that the kernel unpacks into its first file system: cpio's "newc" format, as
//! `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux describes it.

use std::io::{self, Write};

const TRAILER: &str = "TRAILER!!!";

/// Types and permissions as in `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// Writes an archive. The kernel unpacks several in a row, so each may be written on its own.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    output: W,
    inode: u32,
    written: u64,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, inode: 0, written: 0 }
    }

    /// `path` is relative to the root. Its parent has to be there already; so for all below.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, (0, 0), &[])
    }

    pub(crate) fn file(&mut self, path: &str, executable: bool, content: &[u8]) -> io::Result<()> {
        self.entry(path, if executable { EXECUTABLE } else { FILE }, (0, 0), content)
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK, (0, 0), target.as_bytes())
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, DEVICE, (major, minor), &[])
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(TRAILER, 0, (0, 0), &[])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("`{path}` is larger than an archive can hold, 4 GiB")))?;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let name_size = path.len() as u32 + 1;
        self.inode += 1;
        // Of everything: owner 0, time 0, device 0.
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0]
            .map(|field| format!("{field:08x}"));
        self.write(format!("070701{}{path}\0", fields.concat()).as_bytes())?;
        self.write(content)
    }

    /// Header with name, and content, are each filled up to a multiple of four.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let fill = (4 - self.written % 4) % 4;
        self.written += fill;
        self.output.write_all(&[0; 4][..fill as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("etc").expect("written");
        archive.file("etc/odd", false, b"hello").expect("written");
        archive.file("init", true, b"").expect("written");
        archive.link("sh", "usr/bin/dash").expect("written");
        archive.device("console", 5, 1).expect("written");
        archive.finish().expect("finished")
    }

    #[test]
    fn an_entry_is_header_name_and_content_each_a_multiple_of_four() {
        let bytes = archive();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at % 4).collect();
        assert_eq!(starts, [0; 6], "five entries and the trailer");
        let odd = text.find("etc/odd\0").expect("named");
        assert_eq!(&text[odd - 110..odd - 96], "07070100000002");
        assert_eq!(&text[odd - 96..odd - 88], "000081a4", "a file that all may read");
        assert_eq!(text.find("hello"), Some((odd + "etc/odd\0".len()).next_multiple_of(4)));
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
