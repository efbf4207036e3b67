//! Debug info in a file of its own, by build id.

use std::{
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
};

use super::image::Image;
use crate::process::files;

/// Where distributions put debug info.
const DIRECTORY: &str = "/usr/lib/debug/.build-id";

/// Looks for the debug info of the file with this build id as process `pid` sees the file system, then as the tracer does.
pub(super) fn find(pid: u32, build_id: &[u8]) -> Option<File> {
    let path = path(build_id)?;
    let is_right =
        |file: &File| Image::read(file).is_ok_and(|image| image.dwarf && image.build_id.as_deref() == Some(build_id));
    let theirs = files::open_in_root(pid, &path).ok().filter(is_right);
    theirs.or_else(|| files::open_here(Path::new(&path)).ok().filter(is_right))
}

fn path(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let mut path = format!("{DIRECTORY}/{first:02x}/");
    for byte in rest {
        write!(path, "{byte:02x}").ok()?;
    }
    path.push_str(".debug");
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_build_ids() {
        assert_eq!(path(&[0xab, 0x0c, 0xde]), Some("/usr/lib/debug/.build-id/ab/0cde.debug".into()));
        assert_eq!(path(&[0xab]), None);
        assert_eq!(path(&[]), None);
    }
}
