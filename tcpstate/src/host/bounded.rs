//! Files whose length another process decides.

use std::{
    fs::File,
    io,
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
};

/// How long whoever writes to a pipe may take to begin.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The beginning of a file: its whole lines within `most` bytes, and whether these are all.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn lines(path: &Path, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut text)?;
    let whole = text.len() as u64 <= most;
    if !whole {
        text.truncate(text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    }
    Ok((text, whole))
}

/// The whole text of a file, or of a pipe that somebody writes to.
///
/// # Errors
///
/// When it cannot be read, is no text, longer than `most` bytes, or a pipe by name that nobody has open.
pub(crate) fn whole_text(path: &Path, most: u64) -> io::Result<String> {
    // A pipe that nobody writes to is not waited for.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    let mut begun = [PollFd::new(&file, PollFlags::IN)];
    if kind.is_fifo() && poll(&mut begun, Some(&PATIENCE)) == Ok(0) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it is a pipe that nobody writes to"));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_an_end() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a");
        std::fs::write(&path, "0123456789")?;
        assert_eq!(whole_text(&path, 10)?, "0123456789");
        assert_eq!(whole_text(&path, 9).expect_err("too long").to_string(), "it has more than 9 bytes");
        assert!(whole_text(Path::new("/dev/zero"), 1 << 20).is_err(), "without an end");
        let (reader, mut writer) = io::pipe()?;
        let written = std::thread::spawn(move || io::Write::write_all(&mut writer, b"late"));
        let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(whole_text(Path::new(&by_descriptor), 10)?, "late");
        written.join().expect("written")
    }

    #[test]
    fn no_line_is_cut() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a");
        std::fs::write(&path, "one\ntwo\nthree")?;
        for (most, text, whole) in
            [(13, "one\ntwo\nthree", true), (12, "one\ntwo\n", false), (7, "one\ntwo\n", false), (2, "", false)]
        {
            assert_eq!(lines(&path, most)?, (text.as_bytes().to_vec(), whole), "{most}");
        }
        assert!(lines(&directory.path().join("b"), 1).is_err());
        Ok(())
    }
}
