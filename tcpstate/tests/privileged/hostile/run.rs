//! `tcpstate run` of a command that attacks it: its verdict stands all the same.

use std::{
    fs,
    io::Read as _,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{
    attack::{self, Attack, DIRECTORY},
    stage::{ITS_SOCKETS, Stage},
    verdicts,
    watch::Watch,
};
use crate::support::{binary, run::trial};

/// How long the command goes on after its sockets have leaked.
const GOES_ON_MS: u32 = 2000;
/// How long the neighbour goes on. A process that has ended can no longer be asked what it had mapped, so its stacks have to come before
/// that: after the one that is being read when they come, which has time until it is given up.
const NEIGHBOUR_GOES_ON_S: u32 = if cfg!(debug_assertions) { 5 } else { 3 };
/// For the command, and then for the report: time limits of several requests, one after the other; guests are emulated.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 180 } else { 30 });
/// The exit code of a run that leaks.
const LEAKED: i32 = 99;

/// Killed when dropped.
struct Running(Child);

pub(crate) fn trials() -> Vec<Trial> {
    let trials = attack::SETS.iter().map(|set| {
        trial(format!("hostile::run::{}", set.name), || {
            let attacks = set.attacks();
            withstands(&attacks.into_iter().filter(ends_by_itself).collect::<Vec<_>>())
        })
    });
    trials.collect()
}

/// A thread whose stack is in a file system that does not answer keeps its own process from ending, and a run waits for its command.
fn ends_by_itself(attack: &Attack) -> bool {
    !(attack.name.starts_with("served-") && attack.name.ends_with("-stack")) && attack.name != "stack-unanswered"
}

fn withstands(attacks: &[Attack]) -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("report");
    let mut script =
        format!("(sleep 2; echo leak; sleep {NEIGHBOUR_GOES_ON_S}) | {DIRECTORY}/neighbour {ITS_SOCKETS} &\n");
    for attack in attacks {
        stage.prepare(attack)?;
        let words = attack.clone().ending_after(GOES_ON_MS).command_line(stage.elf.entry)?;
        let quoted: Vec<_> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        script.push_str(&format!("{} &\n", quoted.join(" ")));
    }
    script.push_str("wait\n");
    let mut command = stage.launch().command(binary::tcpstate())?;
    command.args(["run", "--older-than", "10ms", "--report"]).arg(&file).args(["--", "sh", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().context("tcpstate")?);
    let watch = Watch::of(running.0.id());
    let mut stderr = running.0.stderr.take().context("stderr")?;
    let said = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait()? {
            break status;
        }
        ensure!(begun.elapsed() < PATIENCE, "the run does not end in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    };
    let said = said.join().ok().context("stderr")??;
    ensure!(status.code() == Some(LEAKED), "it ended with {status}: {said}");
    ensure!(!said.contains("panicked"), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let expected = ITS_SOCKETS + attacks.iter().map(|attack| attack.sockets).sum::<usize>();
    ensure!(report["leaked"] == expected, "{} leaked instead of {expected}: {said}", report["leaked"]);
    let leaks = report["leaks"].as_array().context("no leaks")?;
    verdicts::check_neighbours_stacks(leaks.iter().filter(|leak| leak["process"]["comm"] == "neighbour"), false)?;
    leaks.iter().try_for_each(|leak| verdicts::check_verdict(&report, leak))?;
    verdicts::check_text(&report)?;
    verdicts::check_memory(&watch)?;
    stage.check_secrets()
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended already both say so, which is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
