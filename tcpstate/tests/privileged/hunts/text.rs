//! Reports for people: one after another in a pipe, each in place of the one before on a terminal.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    scenarios::{leaks::hunt::Hunt, named, running::Running, truth},
    support::{run::trials, transcript::Transcript},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::text"; in_a_pipe, on_a_terminal, on_a_narrow_terminal]
}

/// Cursor home, and everything from there on erased.
const REPAINT: &str = "\x1b[H\x1b[J";
/// Reports waited for after the leak.
const REPORTS: usize = 3;

/// A gateway that has leaked nothing yet, and the options for a hunt of it.
fn gateway() -> Result<(Running, Vec<String>)> {
    let running = (named("relay")?.start)()?;
    let options =
        [&super::owned(&["--interval", "200ms", "--older-than", "1ms"]), &running.scene.filters()[..]].concat();
    Ok((running, options))
}

/// Leaks; returns the headline of a report that shows everything.
fn leak(running: &mut Running) -> Result<String> {
    running.leak()?;
    let listed = truth::settle(running, &named("relay")?.expected)?;
    let count = listed.iter().filter(|socket| socket.state == "CLOSE_WAIT").count();
    Ok(format!("{count} sockets in CLOSE_WAIT in 1 process, 0 ghost descriptors"))
}

fn in_a_pipe() -> Result<()> {
    let (mut running, options) = gateway()?;
    let hunt = Hunt::spawn(&Default::default(), &options)?;
    hunt.wait_until_said("the first report", |said, _| said.contains("0 sockets in CLOSE_WAIT"))?;
    let headline = leak(&mut running)?;
    hunt.wait_until_said("reports of the leak", |said, _| said.matches(&headline).count() >= REPORTS)?;
    let ended = hunt.finish()?;
    ensure!(!ended.stdout.contains('\x1b') && ended.stderr.is_empty(), "{:?} {}", ended.stdout, ended.stderr);
    // A report begins where a line names a total, with a blank line before it.
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let begins = |at: &usize| lines[*at].contains(" in CLOSE_WAIT in ");
    let starts: Vec<usize> = (0..lines.len()).filter(begins).collect();
    ensure!(starts.first() == Some(&0) && starts.len() > REPORTS, "reports begin at {starts:?}");
    ensure!(starts[1..].iter().all(|&at| lines[at - 1].is_empty()), "not apart: {}", ended.stdout);
    let times: Vec<&str> = starts.iter().filter_map(|&at| lines[at].split(' ').next()).collect();
    ensure!(times.is_sorted() && times[0].len() == "HH:MM:SS.mmm".len(), "{times:?}");
    let last = lines[starts[starts.len() - 1]..].join("\n");
    check_whole(&last, &headline, &running)
}

/// All that the scenario is about is in one report.
fn check_whole(report: &str, headline: &str, running: &Running) -> Result<()> {
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    let pid = running.scene.program.pid;
    let group = format!("relay[{pid}] 25 sockets eof-read oldest");
    for part in
        [headline, &group, "why a receive returned 0,", "connected to port", "told thread relay", "oldest 127.0.0.1:"]
    {
        ensure!(flat.contains(part), "no `{part}` in:\n{report}");
    }
    for function in ["upstream_connect", "serve_one", "relay_upstream"] {
        ensure!(flat.contains(function), "no `{function}` in:\n{report}");
    }
    Ok(())
}

/// A terminal of so many columns, and its other side.
struct Terminal {
    side: OwnedFd,
    screen: Transcript,
    as_it_was: Termios,
}

impl Terminal {
    fn new(columns: u16) -> Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let side = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        tcsetwinsize(&side, Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let as_it_was = tcgetattr(&side)?;
        let screen = Transcript::start("on a terminal".to_owned(), File::from(terminal), std::io::empty(), false);
        Ok(Self { side, screen, as_it_was })
    }

    /// Runs a hunt on it until it has shown a leak, then Ctrl-C; what was written, and the headline.
    fn hunt(&self, running: &mut Running, options: &[String]) -> Result<(String, String)> {
        let hunt = Hunt::spawn_with_stdout(options, self.side.as_fd().try_clone_to_owned()?)?;
        let flat = |said: &[u8]| plain(&String::from_utf8_lossy(said)).split_whitespace().collect::<Vec<_>>().join(" ");
        self.screen.wait_until("the first report", |said| flat(said.stdout()).contains("0 sockets in CLOSE_WAIT"))?;
        let headline = leak(running)?;
        self.screen
            .wait_until("reports of the leak", |said| flat(said.stdout()).matches(&headline).count() >= REPORTS)?;
        let ended = hunt.finish()?;
        ensure!(ended.stderr.is_empty(), "standard error: {}", ended.stderr);
        let is = tcgetattr(&self.side)?;
        let modes = |terminal: &Termios| {
            (terminal.input_modes, terminal.output_modes, terminal.control_modes, terminal.local_modes)
        };
        ensure!(modes(&is) == modes(&self.as_it_was), "the terminal was left changed: {is:?}");
        Ok((self.screen.stdout(), headline))
    }
}

fn on_a_terminal() -> Result<()> {
    let (mut running, options) = gateway()?;
    let terminal = Terminal::new(120)?;
    let (said, headline) = terminal.hunt(&mut running, &options)?;
    let reports: Vec<&str> = said.split(REPAINT).collect();
    ensure!(reports.first() == Some(&"") && reports.len() > REPORTS, "{} reports in place", reports.len() - 1);
    for report in &reports[1..] {
        let totals = plain(report).lines().filter(|line| line.contains(" in CLOSE_WAIT in ")).count();
        ensure!(totals == 1, "{totals} reports in one place:\n{report}");
        // Nothing but colours: no other screen, no hidden cursor, nothing that would have to be undone.
        ensure!(report.split('\x1b').skip(1).all(is_colour), "{report:?}");
        ensure!(report.contains('\x1b'), "no colour: {report:?}");
        let reset = report.rsplit('\x1b').next().is_some_and(|last| last.starts_with("[0m"));
        ensure!(reset && report.ends_with('\n'), "it ends in the middle of something: {report:?}");
    }
    check_whole(&plain(reports[reports.len() - 1]), &headline, &running)
}

/// Of what follows an escape character.
fn is_colour(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix('[').and_then(|rest| rest.split_once('m'));
    parameters.is_some_and(|(numbers, _)| numbers.chars().all(|c| c.is_ascii_digit() || c == ';'))
}

/// Without colours and repainting.
fn plain(said: &str) -> String {
    let mut parts = said.split('\x1b');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    }
    plain
}

/// Nothing is cut off, and no line is longer than it has to be.
fn on_a_narrow_terminal() -> Result<()> {
    const COLUMNS: usize = 50;
    let (mut running, options) = gateway()?;
    let terminal = Terminal::new(COLUMNS as u16)?;
    let (said, headline) = terminal.hunt(&mut running, &options)?;
    let last = plain(said.rsplit(REPAINT).next().context("no report")?);
    check_whole(&last, &headline, &running)?;
    let long: Vec<&str> = last.lines().filter(|line| line.width() > COLUMNS).collect();
    // Only what cannot be broken: a single piece behind the blanks that it is indented by.
    let broken = long.iter().find(|line| line.trim().contains(' '));
    ensure!(broken.is_none(), "longer than {COLUMNS} columns: {broken:?} in\n{last}");
    ensure!(last.lines().count() > 30, "nothing had to be broken:\n{last}");
    Ok(())
}
