//! `tcpstate leaks` among attackers.

use std::{collections::BTreeSet, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::{
    attack::{self, Attack},
    opened::{self, Opened},
    stage::Stage,
    tracer::Tracer,
};
use crate::support::run::trial;

type Attacks = fn() -> Vec<Attack>;

pub(crate) fn trials() -> Vec<Trial> {
    let kinds: [(&str, Attacks); 19] = [
        ("debug_links", || attack::files("debuglink-")),
        ("alternative_links", || [attack::files("altlink-"), attack::files("sup-")].concat()),
        ("compressed_sections", || attack::files("compressed-")),
        ("debug_info", || attack::files("dwarf-")),
        ("line_tables", || attack::files("lines-")),
        ("unwind_tables", || attack::files("unwinding-")),
        ("symbols", || attack::files("symbols-")),
        ("headers", || attack::files("headers-")),
        ("notes", || [attack::files("notes-"), attack::files("go-")].concat()),
        ("changing_files", attack::changing_files),
        ("lease", || vec![attack::lease()]),
        ("unanswered_files", attack::unanswered_files),
        ("stacks", attack::stacks),
        ("mappings", attack::mappings),
        ("perf_maps", attack::perf_maps),
        ("copies", || vec![attack::copies(1200)]),
        // More than are kept open, and so slowly that a stack is taken of each.
        ("copies_one_after_the_other", || vec![attack::slow_copies(400, 5000)]),
        ("children", || vec![attack::children(2000)]),
        ("names", attack::names),
    ];
    let trials = kinds.map(|(name, attacks)| trial(format!("hostile::leaks::{name}"), move || withstands(&attacks())));
    trials.into_iter().chain([trial("hostile::leaks::opens_nothing_else", opens_nothing_else)]).collect()
}

fn withstands(attacks: &[Attack]) -> Result<()> {
    let mut stage = Stage::new()?;
    attacks.iter().try_for_each(|attack| stage.prepare(attack))?;
    let tracer = Tracer::leaks(&stage)?;
    let attackers = stage.start_all(attacks)?;
    // Where there are very many places at once, stacks are skipped, of whomever; the next ones are taken.
    thread::sleep(Duration::from_secs(1));
    tracer.withstands(&mut stage, &attackers)?;
    tracer.finish()?;
    stage.check_secrets()
}

/// Where debug info is that belongs to programs and libraries of the system.
const DEBUG_INFO: &str = "/usr/lib/debug";

/// Links of every kind, and all that is opened because of them.
fn opens_nothing_else() -> Result<()> {
    let mut stage = Stage::new()?;
    let attacks = [attack::files("debuglink-"), attack::files("altlink-"), attack::files("sup-")].concat();
    let attacks = [attacks, attack::perf_maps_that_link()].concat();
    attacks.iter().try_for_each(|attack| stage.prepare(attack))?;
    let tracer = Tracer::leaks(&stage)?;
    let root = PathBuf::from(format!("/proc/{}/root", stage.neighbour.pid));
    let mut opened = Opened::on(&[root.clone(), stage.path("")])?;
    let attackers = stage.start_all(&attacks)?;
    stage.neighbour_leaks(false)?;
    thread::sleep(Duration::from_secs(4));
    let opens = opened.take()?;
    let mut own = BTreeSet::new();
    for pid in attackers.iter().map(|attacker| attacker.pid).chain([stage.neighbour.pid, tracer.pid()]) {
        own.extend(opened::mapped(pid)?);
    }
    let helpers = tracer.watch.seen();
    let mut read = 0;
    for open in opens.iter().filter(|open| open.pid == tracer.pid() || helpers.contains_key(&open.pid)) {
        let is_own = own.contains(&open.id) || open.path.starts_with(DEBUG_INFO);
        ensure!(is_own, "it opened what no process has mapped: {open:?}");
        read += 1;
    }
    ensure!(read > 0, "it opened nothing that was seen: {opens:?}");
    tracer.finish()?;
    stage.check_secrets().context("secrets")
}
