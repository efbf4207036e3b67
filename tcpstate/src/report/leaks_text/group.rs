//! One group.

use std::io;

use anstyle::Style;
use tcpstate_core::{
    aggregate::{
        leaks::{ClosedLate, Fate, Group, Opening, Origin, Peer, Process, Side, Tallied, Threads},
        verdict::Verdict,
    },
    model::{leak::PlaceId, probes, stack::Sleepers},
};

use super::{examples, frames};
use crate::report::{
    escape::Escaped,
    evidence::{advice, evidence},
    leaks::{LeakReport, Outlook, may_accept, verdict_name},
    page::{Page, Paragraph},
    span::Span,
    style::{BAD, BOLD, DIM, GOOD, PLAIN, WARNING},
    words::{AgeText, Count, GrowthText, PeerText, ProcessText, ThreadsText, fate_text},
};

/// Processes that may accept that are listed; the rest is counted.
const ACCEPTING: usize = 8;

/// Other processes with descriptors that are listed; the rest is counted.
const HOLDING: usize = 16;

/// Writes a group of leaks.
pub(in crate::report) fn write<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    group: &Group,
) -> io::Result<()> {
    page.headline(&headline(group))?;
    page.labelled("why", &Paragraph::new().text(evidence(report, group)))?;
    page.labelled("do", &Paragraph::new().text(advice(report, group)))?;
    opened(page, report, &group.origin, &group.threads, group.inferred.sockets)?;
    for &(teller, sockets) in &group.told.top {
        let one = if teller.and_others { "such as " } else { "" };
        let by = match teller.by {
            Some(by) => format!("{one}thread {}[{}]", Escaped(by.comm.bytes()), by.tid),
            None => "somebody before the trace".to_owned(),
        };
        let through = teller.place.and_then(|place| report.event_loop(place));
        let through =
            through.map_or_else(String::new, |event_loop| format!(", through the event loop of {}", event_loop.name));
        let intro = Paragraph::new().text(format_args!("{by}, of the end of {}{through}", Count(sockets, "socket")));
        stack(page, report, "told", Some(intro), teller.place)?;
    }
    others(page, group.told.others, "socket", "told at other places")?;
    for &(place, sockets) in &group.shut_down.top {
        let intro = Paragraph::new().text(Count(sockets, "socket"));
        let label = if matches!(group.fate, Some(Fate::ClosedLate | Fate::CleanedUp)) { "closed" } else { "shut down" };
        stack(page, report, label, Some(intro), Some(place))?;
    }
    accepting(page, group)?;
    for (sleepers, pids) in alike(report.sleepers(group)) {
        let threads = asleep(&sleepers, &pids, group);
        if sleepers.stack.is_unread() {
            page.labelled("asleep", &threads.glue(",").word(WARNING, "not looked at"))?;
        } else {
            frames::write(page, "asleep", Some(threads), &sleepers.stack)?;
        }
    }
    held(page, group)?;
    peers(page, &group.peers)?;
    examples::write(page, group)
}

/// Writes a half-close in use, shortly: it is no leak.
pub(super) fn write_sending<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    group: &Group,
) -> io::Result<()> {
    page.headline(&headline(group))?;
    page.labelled("why", &Paragraph::new().text(evidence(report, group)))?;
    page.labelled("do", &Paragraph::new().text(advice(report, group)))?;
    opened(page, report, &group.origin, &group.threads, group.inferred.sockets)?;
    peers(page, &group.peers)
}

/// Writes what was closed late.
pub(super) fn write_closed<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    closed: &ClosedLate,
) -> io::Result<()> {
    let line = named(closed.process).item(PLAIN, Count(closed.sockets + closed.unseen, "socket"));
    let mut line = line.word(WARNING, "closed late");
    if closed.sockets > 0 {
        let [p50, p99, max] = [closed.p50_ns, closed.p99_ns, closed.max_ns].map(Span);
        let bound = if closed.at_least > 0 { "≥ " } else { "" };
        line = line.item(PLAIN, format_args!("after {bound}{p50} (p50), {p99} (p99), at most {max}"));
    }
    page.headline(&line)?;
    if closed.at_least > 0 {
        let text = format!("{} entered CLOSE_WAIT before the trace: their times are lower bounds", closed.at_least);
        page.labelled("", &Paragraph::new().styled(DIM, text))?;
    }
    if closed.unseen > 0 {
        let text = format!("{} went unseen, closed or reset: without a time", Count(closed.unseen, "socket"));
        page.labelled("", &Paragraph::new().styled(DIM, text))?;
    }
    if !closed.histogram.is_empty() {
        let times = closed.histogram.iter().fold(Paragraph::new(), |line, &(upper_ns, count)| {
            line.item(PLAIN, format_args!("≤ {}: {count}", Span(upper_ns)))
        });
        page.labelled("times", &times)?;
    }
    opened(page, report, &closed.origin, &closed.threads, closed.inferred)?;
    for (label, places) in [("told", &closed.told), ("closed", &closed.closed)] {
        for &(place, sockets) in &places.top {
            stack(page, report, label, Some(Paragraph::new().text(Count(sockets, "socket"))), Some(place))?;
        }
        others(page, places.others, "socket", "at other places")?;
    }
    Ok(())
}

fn named(process: Option<Process>) -> Paragraph {
    match process {
        Some(process) => Paragraph::new().word(BOLD, ProcessText(process)),
        None => Paragraph::new().word(BOLD, "unknown process"),
    }
}

fn headline(group: &Group) -> Paragraph {
    let things = if group.verdict == Verdict::GhostFd { "descriptor" } else { "socket" };
    let line = named(group.process).item(PLAIN, Count(group.sockets, things));
    let line = line.word(verdict_style(group.verdict), verdict_name(group.verdict));
    let line = match group.fate {
        Some(fate) => line.item(PLAIN, fate_text(fate)),
        None => line,
    };
    let mut line = line.item(PLAIN, format_args!("oldest {}", AgeText(group.ages.oldest)));
    if group.sockets > 1 {
        let bound = if group.ages.inexact > 0 { "≥ " } else { "" };
        let [p50, p99] = [group.ages.p50_ns, group.ages.p99_ns].map(Span);
        line = line.item(PLAIN, format_args!("p50 {bound}{p50}")).item(PLAIN, format_args!("p99 {bound}{p99}"));
    }
    if let Some(growth) = group.growth {
        let style = if growth.is_up() { BAD } else { PLAIN };
        line = line.item(style, GrowthText(growth));
    }
    if group.closed_late > 0 {
        line = line.item(PLAIN, format_args!("{} more closed late", group.closed_late));
    }
    line
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Sending => GOOD,
        Verdict::Pool | Verdict::Unknown => WARNING,
        _ => BAD,
    }
}

fn opened<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    origin: &Origin,
    threads: &Threads,
    inferred: u64,
) -> io::Result<()> {
    let (label, what) = match origin.side {
        Side::Accepted(port) => ("accepted", format!("on port {port}")),
        Side::Connected(port) => ("connected", format!("to port {port}")),
        Side::LocalPort(port) => ("opened", format!("local port {port}")),
        Side::RemotePort(port) => ("opened", format!("remote port {port}")),
    };
    let intro = Paragraph::new().text(what);
    let missing = match origin.opening {
        Opening::Seen(_) => {
            let intro = match threads.number {
                0 => intro,
                _ => intro.glue(",").text(format_args!("by {}", ThreadsText(threads))),
            };
            let intro = match inferred {
                0 => intro,
                n => intro
                    .glue(";")
                    .text(format_args!("{n} of them before the trace,"))
                    .word(WARNING, "inferred")
                    .text("from the others:"),
            };
            return stack(page, report, label, Some(intro), origin.opening.place());
        }
        Opening::Inferred(_) => {
            let intro = intro
                .glue(",")
                .text("before the trace;")
                .word(WARNING, "inferred")
                .text("from a later leak of its kind:");
            return stack(page, report, label, Some(intro), origin.opening.place());
        }
        Opening::LeftOut => return page.labelled(label, &intro.glue(":").text(left_out(report, origin))),
        Opening::NotTaken => {
            "its stack was not taken: see what is incomplete above, or io_uring did it while the program did something else, or the filters leave \
             out the process that did it"
        }
        Opening::BeforeTrace => match report.outlook {
            Outlook::GoesOn => "before the trace: the next leak of its kind will show where",
            Outlook::Ended => "before the trace, and no later leak of its kind has shown where",
            Outlook::InPassing => "before this: a hunt that goes on sees where the next leak of its kind is opened",
        },
        Opening::NotSeen if report.unseen.contains(&probes::Role::Accept.lost()) => {
            "by an accept() that was not seen (this kernel has no hook for it)"
        }
        Opening::NotSeen => "by an accept() that was not seen (io_uring, a 32-bit program, or under way at the start)",
        Opening::NotKnown => "no accept() was seen, and nobody has looked yet whether it has a descriptor",
        Opening::NotAccepted => "not yet",
    };
    page.labelled(label, &intro.glue(":").text(missing))
}

/// What can be said of sockets that were perhaps opened by a process that the filters leave out.
fn left_out(report: &LeakReport, origin: &Origin) -> String {
    let shows = match report.listens(origin) {
        Some(process) => {
            format!("{} listens there, and `--pid {}` shows what it accepts", ProcessText(process), process.pid)
        }
        None => "without `--pid` and `--comm` the next one of its kind shows where".to_owned(),
    };
    format!("before the trace, or by a process that the filters leave out: {shows}")
}

/// A stack beside its label, or why there is none.
fn stack<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    label: &str,
    intro: Option<Paragraph>,
    place: Option<PlaceId>,
) -> io::Result<()> {
    match place.and_then(|place| report.stack(place)) {
        Some(stack) => frames::write(page, label, intro, stack),
        None => {
            let line = intro.unwrap_or_default();
            let why = if place.is_some() { "[its stack is missing]" } else { "[its stack was not taken]" };
            page.labelled(label, &line.word(WARNING, why))
        }
    }
}

/// Who may accept, where that is not plainly the process in the headline.
fn accepting<W: io::Write>(page: &mut Page<'_, W>, group: &Group) -> io::Result<()> {
    let processes: Vec<Process> = may_accept(group).collect();
    let plain = matches!(processes[..], [only] if group.process.map(Process::id) == Some(only.id()));
    if plain || processes.is_empty() {
        return Ok(());
    }
    let shown = processes.iter().take(ACCEPTING);
    let mut line = shown.fold(Paragraph::new(), |line, &process| line.item(PLAIN, ProcessText(process)));
    let unlisted: u64 = group.backlogs.iter().map(|backlog| backlog.other_holders).sum();
    if let more @ 1.. = processes.len().saturating_sub(ACCEPTING) as u64 + unlisted {
        line = line.item(DIM, format_args!("and {more} more"));
    }
    let listeners = group.backlogs.len() as u64 + group.other_backlogs;
    if listeners > 1 {
        let text = format!("{listeners} listeners share the port: which has them is not known");
        line = line.glue(";").text(text);
    }
    page.labelled("may accept", &line)
}

/// Threads that sleep at the same place, of whichever processes.
fn alike<'a>(sleepers: impl Iterator<Item = &'a Sleepers>) -> Vec<(Sleepers, Vec<u32>)> {
    let mut folded: Vec<(Sleepers, Vec<u32>)> = Vec::new();
    for one in sleepers {
        match folded.iter_mut().find(|(known, _)| (&known.syscall, &known.stack) == (&one.syscall, &one.stack)) {
            Some((known, pids)) => {
                known.threads += one.threads;
                pids.push(one.pid);
            }
            None => folded.push((one.clone(), vec![one.pid])),
        }
    }
    folded
}

fn asleep(sleepers: &Sleepers, pids: &[u32], group: &Group) -> Paragraph {
    let threads = Paragraph::new().text(Count(sleepers.threads, "thread"));
    let threads = match pids {
        [pid] if group.process.is_some_and(|process| process.pid == *pid) => threads,
        [pid] => threads.text(format_args!("of pid {pid}")),
        _ => threads.text(format_args!("of {}", Count(pids.len() as u64, "process"))),
    };
    let threads = match &sleepers.syscall {
        Some(syscall) => threads.text("in").word(BOLD, Escaped(syscall.as_bytes())),
        None => threads,
    };
    let one = if sleepers.threads == 1 { "" } else { "such as " };
    threads.word(DIM, format_args!("({one}{}[{}])", Escaped(sleepers.comm.bytes()), sleepers.tid))
}

/// Other processes than the one in the headline.
fn held<W: io::Write>(page: &mut Page<'_, W>, group: &Group) -> io::Result<()> {
    let own = group.process.map(|process| process.pid);
    if let Some(opener) = group.opener {
        page.labelled("opened by", &Paragraph::new().text(ProcessText(opener)))?;
    }
    let others: Vec<_> = group.held.by.iter().filter(|(process, _)| Some(process.pid) != own).collect();
    if others.is_empty() {
        return Ok(());
    }
    let mut line = others.iter().take(HOLDING).fold(Paragraph::new(), |line, &&(process, sockets)| {
        line.item(PLAIN, format_args!("{} ({sockets})", ProcessText(process)))
    });
    let more = others.len().saturating_sub(HOLDING) as u64 + group.held.others.number;
    if more > 0 {
        line = line.item(DIM, format_args!("and {more} more"));
    }
    page.labelled("also held", &line)
}

fn peers<W: io::Write>(page: &mut Page<'_, W>, peers: &Tallied<Peer>) -> io::Result<()> {
    let mut line = Paragraph::new();
    for &(peer, count) in &peers.top {
        line = line.item(PLAIN, format_args!("{} ×{count}", PeerText(peer)));
    }
    if peers.others > 0 {
        line = line.item(DIM, format_args!("others ×{}", peers.others));
    }
    page.labelled("peers", &line)
}

fn others<W: io::Write>(page: &mut Page<'_, W>, count: u64, thing: &'static str, what: &str) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    page.labelled("", &Paragraph::new().styled(DIM, format_args!("{} {what}", Count(count, thing))))
}
