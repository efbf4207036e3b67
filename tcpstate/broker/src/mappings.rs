//! Where a process has its code, within bounds: it may have as many mappings as it likes, with paths of 4 KiB each.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
};

use serde_bytes::ByteBuf;
use tcpstate_wire::{Mappings, Region, RegionKind, Subject};

use crate::process::{ProcessError, maps, maps::Mapping, thread};

/// Most bytes of `/proc/PID/maps` that are read: a hundred thousand mappings of a large Java program have ten million.
const MOST_TEXT: u64 = 16 << 20;
/// Most mappings with code that are known of a process: the largest programs seen have some six hundred.
const MOST_REGIONS: usize = 4096;
/// Most bytes of paths that are known of a process.
const MOST_PATHS: usize = 512 << 10;
/// Longest line: what precedes a path, and a path of `PATH_MAX` with every byte escaped.
const LONGEST_LINE: u64 = 20 << 10;

/// Reads where a process has its code.
///
/// # Errors
///
/// [`ProcessError::Gone`] when the process has ended or never had memory of its own.
pub(crate) fn read(Subject { pid, start_stack, began }: Subject) -> Result<Mappings, ProcessError> {
    let path = thread::file(pid, "maps");
    let fail = |path: PathBuf, source| Err(ProcessError::new(pid, path, source));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return fail(path, source),
    };
    let mut mappings = Mappings { start_stack, began, complete: true, ..Mappings::default() };
    let mut text = BufReader::with_capacity(64 << 10, file.take(MOST_TEXT));
    let mut paths = 0;
    let mut line = Vec::new();
    let mut lines = 0_usize;
    loop {
        line.clear();
        match (&mut text).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(source) => return fail(path, source),
        }
        lines += 1;
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let Some(mapping) = maps::parse(&line).next().filter(|mapping| mapping.executable) else {
            mappings.complete &= whole;
            continue;
        };
        let path = mapping.file().map(|file| file.path.as_os_str().as_encoded_bytes());
        let is_new = path.is_some_and(|path| mappings.paths.last().is_none_or(|last| **last != *path));
        let room = mappings.regions.len() < MOST_REGIONS && paths + path.map_or(0, <[u8]>::len) <= MOST_PATHS;
        if !whole || !room {
            mappings.complete = false;
            break;
        }
        if let Some(path) = path.filter(|_| is_new) {
            paths += path.len();
            mappings.paths.push(ByteBuf::from(path));
        }
        mappings.regions.push(region(&mapping, mappings.paths.len().saturating_sub(1)));
    }
    if lines == 0 { Err(ProcessError::Gone(pid)) } else { Ok(mappings) }
}

fn region(mapping: &Mapping<'_>, path: usize) -> Region {
    let kind = if mapping.file().is_some() {
        let path = u32::try_from(path).unwrap_or(u32::MAX);
        RegionKind::File { inode: mapping.inode, device: mapping.device, path }
    } else if mapping.is_vdso() {
        RegionKind::Vdso
    } else {
        RegionKind::Anonymous
    };
    Region { start: mapping.start, end: mapping.end, offset: mapping.offset, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let mappings =
            read(Subject { start_stack: Some(1), ..Subject::numbered(std::process::id()) }).expect("own mappings");
        assert!(mappings.complete && mappings.start_stack == Some(1));
        let own = std::env::current_exe().expect("own path");
        let path = mappings.paths.iter().position(|path| **path == *own.as_os_str().as_encoded_bytes());
        let path = u32::try_from(path.expect("own path is mapped")).expect("few");
        assert!(
            mappings
                .regions
                .iter()
                .any(|region| matches!(region.kind, RegionKind::File { path: at, .. } if at == path))
        );
        assert!(mappings.regions.iter().any(|region| region.kind == RegionKind::Vdso));
        assert!(mappings.regions.is_sorted_by_key(|region| region.start));
        assert!(matches!(read(Subject::numbered(i32::MAX as u32)), Err(ProcessError::Gone(_))));
    }
}
