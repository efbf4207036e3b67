//! Listeners whose owner has exited pass to who holds them.
//!
//! The programs notice the exit by themselves and name nobody from then on; only an iterator over all descriptors finds out who else has
//! one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use tcpstate_core::model::probes::{Hooks, Role};

use super::{
    object::program,
    ring,
    snapshot::{each_record, open},
};

/// It takes at most this part of the time: on a machine where processes that listen come and go all day, too.
const PART: u32 = 50;

/// When to look for holders.
pub(super) struct Inheritance {
    /// How many processes that owned listeners have exited.
    ended: Array<MapData, u64>,
    /// How many had when it was looked last, when that was, and how long it took.
    looked: (u64, Option<Instant>, Duration),
    /// Whether this kernel lets descriptors be listed.
    possible: bool,
}

impl Inheritance {
    pub(super) fn new(ebpf: &mut Ebpf, hooks: &Hooks) -> Result<Self> {
        Ok(Self {
            ended: ring::take(ebpf, "ENDED")?,
            looked: (0, None, Duration::ZERO),
            possible: hooks.chosen(Role::Descriptors).is_some(),
        })
    }

    /// Has listeners pass to their holders where an owner has exited since this was done last.
    pub(super) fn settle(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        if !self.possible {
            return Ok(());
        }
        let ended = self.ended.get(&0, 0).context("failed to read how many processes that listened have exited")?;
        let (before, last, took) = self.looked;
        if ended == before || last.is_some_and(|last| last.elapsed() < took * PART) {
            return Ok(());
        }
        let began = Instant::now();
        each_record(open(program(ebpf, "inherited_files")?)?, |_: &u8| {})?;
        self.looked = (ended, Some(began), began.elapsed());
        tracing::debug!("looked for who holds listeners of exited processes in {} µs", began.elapsed().as_micros());
        Ok(())
    }
}
