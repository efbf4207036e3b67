//! `tcpstate record` among attackers, and what `report` makes of it.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{
    attack::{self, Attack},
    stage::Stage,
    tracer::Tracer,
    verdicts,
};
use crate::support::{binary, run::trial};

/// For header and start to be written.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long attacks go on.
const ATTACKED: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    let trials =
        attack::SETS.iter().map(|set| trial(format!("hostile::record::{}", set.name), || withstands(&set.attacks())));
    trials.collect()
}

fn withstands(attacks: &[Attack]) -> Result<()> {
    let mut stage = Stage::new()?;
    attacks.iter().try_for_each(|attack| stage.prepare(attack))?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hostile.tcps");
    let file = path.to_str().context("a path of UTF-8")?;
    let tracer = Tracer::spawn(&stage, &["record", "-o", file, "--interval", "500ms", "--older-than", "50ms"])?;
    let begun = Instant::now();
    while fs::metadata(&path).map_or(0, |file| file.len()) < 400 {
        ensure!(begun.elapsed() < PATIENCE, "nothing is recorded: {}", tracer.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    let attackers = stage.start_all(attacks)?;
    thread::sleep(Duration::from_secs(1));
    stage.neighbour_leaks(false)?;
    thread::sleep(ATTACKED);
    let sockets = stage.neighbour_leaks(true)?;
    // Of what comes at once, a flood of stacks too, the last is unwound last.
    thread::sleep(Duration::from_secs(8));
    tracer.finish()?;
    let mut command = std::process::Command::new(binary::tcpstate());
    let report = command
        .args(["report", file, "-o", "json", "--older-than", "50ms", "--top", "10000"])
        .stdin(Stdio::null())
        .output()?;
    ensure!(report.status.success(), "{}: {}", report.status, String::from_utf8_lossy(&report.stderr));
    let text = String::from_utf8(report.stdout)?;
    let report: Value = serde_json::from_str(text.lines().last().context("no report")?)?;
    verdicts::check_neighbour(&report, stage.neighbour.pid, sockets)?;
    attackers.iter().try_for_each(|attacker| verdicts::check_attacker(&report, attacker))?;
    stage.check_secrets()
}
