//! The fingerprint of this crate's sources. A part of the build script, and of the test of it.
//!
//! Both sides of the boundary compile these sources by themselves, and what they compile has to be the same: types, offsets, numbers, and
//! what a number means. A list of all that would be right for as long as nobody forgets it. The sources are the list.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A source file: its path, and what it says.
pub(crate) type Source = (PathBuf, Vec<u8>);

/// Every file below a directory, by its path from there.
///
/// # Errors
///
/// When a directory or a file cannot be read.
pub(crate) fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = fs::read(&path)?;
                sources.push((path.strip_prefix(root).unwrap_or(&path).to_path_buf(), text));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

/// FNV-1a of all paths and texts, each with its length before it. It tells accidents, and no forgery.
pub(crate) fn of(sources: &[Source]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (path, text) in sources {
        add(path.as_os_str().as_encoded_bytes());
        add(text);
    }
    hash
}
