//! Names and paths no longer than somebody reads.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// The longest name of a function, bytes. Longer ones are shown shortened.
pub(super) const MAX_NAME: usize = 2048;
/// The longest path of a source file, bytes (`PATH_MAX`). Longer ones are shown shortened.
const MAX_PATH: usize = 4096;
/// Stands for what is left out.
const ELLIPSIS: &str = "…";

/// At most [`MAX_NAME`] bytes of a name, and a sign if that is not all.
pub(super) fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    format!("{}{ELLIPSIS}", beginning(name, MAX_NAME))
}

/// As many whole characters as `length` bytes have.
pub(super) fn beginning(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// At most [`MAX_PATH`] bytes of a path, and a sign if that is not all.
pub(super) fn shortened_path(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= MAX_PATH {
        return path.to_owned();
    }
    OsString::from_vec([&bytes[..MAX_PATH], ELLIPSIS.as_bytes()].concat()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_and_paths() {
        let whole = "é".repeat(MAX_NAME / 2);
        assert_eq!(shortened(&whole), whole);
        assert_eq!(shortened(&format!("a{whole}")), format!("a{}…", "é".repeat(MAX_NAME / 2 - 1)));
        let path = Path::new("/a").join("b".repeat(MAX_PATH));
        assert_eq!(shortened_path(&path).as_os_str().len(), MAX_PATH + ELLIPSIS.len());
        assert_eq!(shortened_path(Path::new("/a")), Path::new("/a"));
    }
}
