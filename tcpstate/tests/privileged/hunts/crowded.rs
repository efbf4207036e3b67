//! More processes and places than the kernel side has room for: a host with many short-lived processes gets there in a day.

use std::{fmt::Debug, iter, path::PathBuf};

use anyhow::{Context, Result, ensure};
use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapInfo, MapType},
};
use libtest_mimic::Trial;

use super::scene::Leaky;
use crate::{
    scenarios::{
        compile::{self, NO_FRAME_POINTERS},
        leaks::report::{Frame, Stack},
        program::Program,
    },
    support::{bpf, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::crowded"; stacks_do_not_end, more_holders_than_are_asked_at_once]
}

fn stacks_do_not_end() -> Result<()> {
    let leaky = Leaky::new()?;
    let hunt = super::json(&["--older-than", "1ms", "--lport", &leaky.port()])?;
    fill(hunt.pid(), "PLACES", (0_u64..).map(|place| place << 1), 1_u64)?;
    // No process has a number that high (`PID_MAX_LIMIT`).
    fill(hunt.pid(), "CODE", 1 << 30.., [[0_u64; 2]; 4])?;
    for leaked in leaky.leak(3)? {
        leaky.server.receive(&leaked.socket, 0)?;
    }
    hunt.wait_until("both stacks of three sockets", |report| {
        ensure!(report.complete, "incomplete: {:?}", report.losses);
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.verdict == "eof-read" && group.sockets == 3, "{group:?}");
        let [told] = &group.told[..] else { anyhow::bail!("not told at one place: {group:?}") };
        for (stack, call) in [(&group.opened.stack, "accept"), (&told.stack, "recv")] {
            check_calls(stack.as_ref().with_context(|| format!("no stack of {call}: {group:?}"))?, call)?;
        }
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

/// Holds what it leaks in many processes.
pub(super) fn program() -> Result<PathBuf> {
    compile::c("c/crowd.c", &[NO_FRAME_POINTERS])
}

/// The kernel side has room for 4,096 processes whose threads are asked for.
fn more_holders_than_are_asked_at_once() -> Result<()> {
    let crowd = Program::start(&program()?, &["4200"])?;
    let port = crowd.port()?.to_string();
    let hunt = super::json(&["--older-than", "1ms", "--lport", &port])?;
    hunt.wait_until("where a holder sleeps", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.sockets == 1 && !group.asleep.is_empty(), "{group:?}");
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}

fn check_calls(stack: &Stack, call: &str) -> Result<()> {
    let called = |frame: &Frame| frame.function.as_deref().is_some_and(|function| function.contains(call));
    ensure!(stack.frames.iter().any(called) && stack.truncated.is_none(), "not in {call}: {stack:?}");
    Ok(())
}

/// Enters as many keys as a map has room for.
fn fill<K: Pod + Debug, V: Pod>(pid: u32, name: &str, keys: impl IntoIterator<Item = K>, value: V) -> Result<()> {
    let held = bpf::held_in_kernel(pid)?.into_iter().filter(|(kind, _)| kind == "map_id");
    let named = |id: u32| MapInfo::from_id(id).ok().filter(|info| info.name_as_str() == Some(name));
    let info = held.into_iter().find_map(|(_, id)| named(id)).with_context(|| format!("no map `{name}`"))?;
    let room = info.max_entries();
    let of_kind = if info.map_type()? == MapType::LruHash { Map::LruHashMap } else { Map::HashMap };
    let mut map: HashMap<_, K, V> = HashMap::try_from(of_kind(MapData::from_id(info.id())?))?;
    for (key, _) in iter::zip(keys, 0..room) {
        // A map that makes no room is full a little earlier: of what was there before.
        if let Err(error) = map.insert(key, value, 0) {
            ensure!(error.to_string().contains("E2BIG"), "{name}, {key:?}: {error}");
            break;
        }
    }
    Ok(())
}
