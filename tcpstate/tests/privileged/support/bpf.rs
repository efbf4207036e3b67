//! BPF objects, as the kernel lists them.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

use anyhow::{Context, Result, ensure};
use aya::maps::MapInfo;

/// Ids of the BPF objects that a process holds descriptors of (`/proc/PID/fdinfo`).
pub(crate) fn held_in_kernel(pid: u32) -> Result<BTreeSet<(String, u32)>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // It may be closed by now.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        for line in text.lines() {
            if let Some((kind @ ("prog_id" | "map_id" | "link_id"), id)) = line.split_once(":\t") {
                held.insert((kind.to_owned(), id.trim().parse()?));
            }
        }
    }
    Ok(held)
}

/// Ids of all BPF objects that exist.
pub(crate) fn known_to_kernel() -> Result<BTreeSet<(String, u32)>> {
    let mut known = BTreeSet::new();
    // Others' objects may vanish while they are listed.
    known.extend(aya::programs::loaded_programs().flatten().map(|program| ("prog_id".to_owned(), program.id())));
    known.extend(aya::maps::loaded_maps().flatten().map(|map| ("map_id".to_owned(), map.id())));
    known.extend(aya::programs::loaded_links().flatten().map(|link| ("link_id".to_owned(), link.id())));
    Ok(known)
}

/// The addresses of the sockets that the tracer with this pid keeps a story of.
pub(crate) fn stories(pid: u32) -> Result<BTreeSet<u64>> {
    let map = map_of_stories(pid)?.fd()?;
    let mut keys = BTreeSet::new();
    let mut key = None;
    // The kernel begins anew after a key that has been removed, so keys may come more than once.
    while let Some(next) = next_key(map.as_fd(), key)? {
        ensure!(keys.len() < 1_000_000, "the keys do not end");
        keys.insert(next);
        key = Some(next);
    }
    Ok(keys)
}

fn map_of_stories(pid: u32) -> Result<MapInfo> {
    let maps = held_in_kernel(pid)?.into_iter().filter(|(kind, _)| kind == "map_id");
    let named = |id: u32| MapInfo::from_id(id).ok().filter(|info| info.name_as_str() == Some("SOCKETS"));
    let info = maps.into_iter().find_map(|(_, id)| named(id)).context("no map `SOCKETS`")?;
    ensure!(info.key_size() == 8, "the stories have keys of {} bytes", info.key_size());
    Ok(info)
}

/// Has the tracer with this pid keep the story of the socket at one address at another one, too, as if a socket had been there whose
/// end was not seen.
pub(crate) fn copy_story(pid: u32, from: u64, to: u64) -> Result<()> {
    rewrite_story(pid, from, to, |_| ())
}

/// The same, but in another state: as if the transitions in between had not been seen. Both addresses may be the same.
pub(crate) fn write_story(pid: u32, at: u64, like: u64, state: u8) -> Result<()> {
    /// Where the state is in a story, from its end: it, how the owner is known, flags, marks, and padding.
    const STATE_FROM_END: usize = 6;
    rewrite_story(pid, like, at, |story| {
        let place = story.len() - STATE_FROM_END;
        story[place] = state;
    })
}

fn rewrite_story(pid: u32, from: u64, to: u64, change: impl FnOnce(&mut [u8])) -> Result<()> {
    let info = map_of_stories(pid)?;
    let map = info.fd()?;
    let mut story = vec![0; info.value_size() as usize];
    element(map.as_fd(), BPF_MAP_LOOKUP_ELEM, from, &mut story)?;
    change(&mut story);
    element(map.as_fd(), BPF_MAP_UPDATE_ELEM, to, &mut story)
}

/// Whether the tracer with this pid has found that somebody whom its filters want holds the socket with this cookie.
pub(crate) fn is_held(pid: u32, cookie: u64) -> Result<bool> {
    /// Where the cookie is in a story.
    const COOKIE: usize = 8;
    /// Where it says so, from its end: it, and padding.
    const HELD_FROM_END: usize = 2;
    let info = map_of_stories(pid)?;
    let map = info.fd()?;
    for key in stories(pid)? {
        let mut story = vec![0; info.value_size() as usize];
        // One that has ended meanwhile is not this one.
        let found = element(map.as_fd(), BPF_MAP_LOOKUP_ELEM, key, &mut story).is_ok();
        if found && story[COOKIE..COOKIE + 8] == cookie.to_ne_bytes() {
            return Ok(story[story.len() - HELD_FROM_END] != 0);
        }
    }
    Ok(false)
}

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;

/// The part of `union bpf_attr` that the commands about an element read.
#[repr(C)]
struct OfElement {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// The value, or where the next key goes.
    value: u64,
    flags: u64,
}

/// Reads or writes the value, of the map's size, at a key of 8 bytes.
fn element(map: BorrowedFd<'_>, command: libc::c_int, key: u64, value: &mut [u8]) -> Result<()> {
    let attributes = OfElement {
        map_fd: u32::try_from(map.as_raw_fd())?,
        pad: 0,
        key: &raw const key as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: a key and a value as large as the map's, both of which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<OfElement>()) };
    ensure!(result == 0, "element {key:#x} of the map: {}", io::Error::last_os_error());
    Ok(())
}

/// The machine code of the programs of this name that a process holds, functions that are not inlined included.
pub(crate) fn machine_code(pid: u32, name: &str) -> Result<Vec<Vec<u8>>> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    /// The beginning of `struct bpf_prog_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        tag: u64,
        code_len: u32,
        instructions_len: u32,
        code: u64,
    }
    #[repr(C)]
    struct Attributes {
        fd: u32,
        info_len: u32,
        info: u64,
    }
    let held = held_in_kernel(pid)?;
    let ours = aya::programs::loaded_programs()
        .flatten()
        .filter(|program| held.contains(&("prog_id".to_owned(), program.id())) && program.name_as_str() == Some(name));
    ours.map(|program| {
        let fd = program.fd()?;
        let mut code = vec![0; 1 << 17];
        let mut info = Info { code_len: u32::try_from(code.len())?, code: code.as_mut_ptr() as u64, ..Info::default() };
        let attributes = Attributes {
            fd: u32::try_from(fd.as_fd().as_raw_fd())?,
            info_len: u32::try_from(size_of::<Info>())?,
            info: &raw mut info as u64,
        };
        // SAFETY: the kernel writes as much of either as there is room for; both outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<Attributes>())
        };
        ensure!(result == 0, "BPF_OBJ_GET_INFO_BY_FD: {}", io::Error::last_os_error());
        let len = info.code_len as usize;
        ensure!((1..=code.len()).contains(&len), "{len} bytes of machine code");
        code.truncate(len);
        Ok(code)
    })
    .collect()
}

/// `BPF_MAP_GET_NEXT_KEY`; aya's maps can do it only for values whose size is known when this is compiled.
fn next_key(map: BorrowedFd<'_>, key: Option<u64>) -> Result<Option<u64>> {
    const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
    let mut next = 0_u64;
    let attributes = OfElement {
        map_fd: u32::try_from(map.as_raw_fd())?,
        pad: 0,
        key: key.as_ref().map_or(0, |key| ptr::from_ref(key) as u64),
        value: &raw mut next as u64,
        flags: 0,
    };
    // SAFETY: keys of 8 bytes, both of which outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_GET_NEXT_KEY, &raw const attributes, size_of::<OfElement>()) };
    match result {
        0 => Ok(Some(next)),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT) => Ok(None),
        _ => Err(io::Error::last_os_error()).context("BPF_MAP_GET_NEXT_KEY"),
    }
}
