//! BPF objects, as the kernel lists them.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData, MapInfo};

/// Size of a story of the BPF side; aya refuses to read the map with another.
const STORY_BYTES: usize = 48;

/// Ids of the BPF objects that a process holds descriptors of (`/proc/PID/fdinfo`).
pub(crate) fn held_in_kernel(pid: u32) -> Result<BTreeSet<(String, u32)>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        for line in fs::read_to_string(entry?.path())?.lines() {
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
    for program in aya::programs::loaded_programs() {
        known.insert(("prog_id".to_owned(), program?.id()));
    }
    for map in aya::maps::loaded_maps() {
        known.insert(("map_id".to_owned(), map?.id()));
    }
    for link in aya::programs::loaded_links() {
        known.insert(("link_id".to_owned(), link?.id()));
    }
    Ok(known)
}

/// How many sockets the tracer with this pid keeps a story of.
pub(crate) fn stories(pid: u32) -> Result<usize> {
    let maps = held_in_kernel(pid)?.into_iter().filter(|(kind, _)| kind == "map_id");
    let named = |id: u32| MapInfo::from_id(id).ok().filter(|info| info.name_as_str() == Some("SOCKETS"));
    let info = maps.into_iter().find_map(|(_, id)| named(id)).context("no map `SOCKETS`")?;
    let map = Map::HashMap(MapData::from_id(info.id())?);
    let stories = HashMap::<_, u64, [u8; STORY_BYTES]>::try_from(&map)?;
    Ok(stories.keys().count())
}
