//! Debug info in files of their own.
//!
//! Which ones is what a file says that anybody may have written. So only those are opened that the process could open itself, at the few
//! places where distributions and debuggers have them (GDB manual, "Debugging Information in Separate Files").

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use tcpstate_wire::DebugFileWanted;

use crate::process::files::{self, Accessor};

/// Where distributions put debug info.
const DIRECTORY: &str = "/usr/lib/debug";
/// Most files that are tried.
const MOST: usize = 4;
/// Longest build id that is looked for, bytes: they are hashes.
const LONGEST_ID: usize = 64;

/// The files that may be wanted, as process `pid` sees the file system, as long as it is there, then as the tracer does. `module` is what
/// the process calls the file that wants them.
pub(crate) fn find(pid: Option<u32>, module: &Path, wanted: &DebugFileWanted) -> Vec<File> {
    let as_whom = pid.and_then(|pid| Some((pid, Accessor::of(pid)?)));
    let accessor = as_whom.map_or(Accessor::ANYBODY, |(_, accessor)| accessor);
    let paths = match wanted {
        DebugFileWanted::BuildId(id) => by_build_id(id).into_iter().collect(),
        DebugFileWanted::Link(name) => by_link(module, name),
        DebugFileWanted::Supplementary { name, build_id } => {
            by_build_id(build_id).into_iter().chain(below_debug(name)).collect()
        }
    };
    let theirs = paths.iter().filter_map(|path| {
        let (pid, accessor) = as_whom?;
        files::open_readable_in_root(pid, path, &accessor).ok()
    });
    // Ours are no secret where anybody may read them.
    let ours = paths.iter().filter(|path| path.starts_with(DIRECTORY));
    let ours = ours.filter_map(|path| files::open_readable_here(path, &accessor).ok());
    theirs.chain(ours).take(MOST).collect()
}

fn by_build_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first().filter(|(_, rest)| !rest.is_empty() && rest.len() < LONGEST_ID)?;
    let mut path = format!("{DIRECTORY}/.build-id/{first:02x}/");
    for byte in rest {
        write!(path, "{byte:02x}").ok()?;
    }
    path.push_str(".debug");
    Some(path.into())
}

/// A debug link is a name without a directory.
fn by_link(module: &Path, name: &[u8]) -> Vec<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let (Some(directory), true) = (module.parent(), is_name(name)) else { return Vec::new() };
    let in_debug = directory.strip_prefix("/").map(|directory| Path::new(DIRECTORY).join(directory).join(name));
    [directory.join(name), directory.join(".debug").join(name)].into_iter().chain(in_debug).collect()
}

fn is_name(name: &Path) -> bool {
    let mut parts = name.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_os_str())
}

/// What several files have in common lies where distributions put debug info; its name may be relative, from wherever the file is.
fn below_debug(name: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let rest: PathBuf = if name.is_absolute() {
        name.strip_prefix(DIRECTORY).ok()?.to_owned()
    } else {
        name.components().skip_while(|part| !matches!(part, Component::Normal(_))).collect()
    };
    let mut parts = rest.components().peekable();
    let is_plain = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| Path::new(DIRECTORY).join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_build_ids() {
        let expected = "/usr/lib/debug/.build-id/ab/0cde.debug";
        assert_eq!(by_build_id(&[0xab, 0x0c, 0xde]), Some(expected.into()));
        for id in [&[0xab][..], &[], &[0; 65]] {
            assert_eq!(by_build_id(id), None);
        }
    }

    #[test]
    fn a_link_names_a_file_nearby() {
        let paths = by_link(Path::new("/opt/app/lib.so"), b"lib.so.debug");
        let expected = ["/opt/app/lib.so.debug", "/opt/app/.debug/lib.so.debug", "/usr/lib/debug/opt/app/lib.so.debug"];
        assert_eq!(paths, expected.map(PathBuf::from));
        for name in [&b"/etc/shadow"[..], b"../shadow", b"a/b", b"", b".", b"..", b"a/"] {
            assert_eq!(by_link(Path::new("/opt/app/lib.so"), name), [""; 0].map(PathBuf::from), "{name:?}");
        }
    }

    #[test]
    fn what_files_have_in_common_is_below_the_directory_for_that() {
        let expected = Some(PathBuf::from("/usr/lib/debug/.dwz/x86_64-linux-gnu/a.debug"));
        assert_eq!(below_debug(b"/usr/lib/debug/.dwz/x86_64-linux-gnu/a.debug"), expected);
        assert_eq!(below_debug(b"../../../.dwz/x86_64-linux-gnu/a.debug"), expected);
        for name in [&b"/etc/shadow"[..], b"/usr/lib/debug/../../../etc/shadow", b"a/../../../etc/shadow", b"..", b""] {
            assert_eq!(below_debug(name), None, "{name:?}");
        }
    }
}
