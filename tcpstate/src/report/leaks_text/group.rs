//! One group.

use std::io;

use anstyle::Style;
use tcpstate_core::{
    aggregate::{
        leaks::{ClosedLate, Fate, Group, Growth, Opening, Origin, Peer, Process, Side, Tallied},
        verdict::Verdict,
    },
    model::{Comm, leak::PlaceId, probes, stack::Sleepers},
};

use super::{examples, frames};
use crate::report::{
    escape::Escaped,
    evidence::{advice, evidence},
    leaks::{LeakReport, verdict_name},
    page::{Page, Paragraph},
    span::Span,
    style::{BAD, BOLD, DIM, GOOD, PLAIN, WARNING},
    words::{AgeText, Count, PeerText, ProcessText, fate_text},
};

/// Writes a group of leaks.
pub(in crate::report) fn write<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    group: &Group,
) -> io::Result<()> {
    page.headline(&headline(group))?;
    page.labelled("why", &Paragraph::new().text(evidence(report, group)))?;
    page.labelled("do", &Paragraph::new().text(advice(group)))?;
    opened(page, report, &group.origin, group.thread)?;
    for &(teller, sockets) in &group.told.top {
        let one = if teller.and_others { "such as " } else { "" };
        let by = match teller.by {
            Some(by) => format!("{one}thread {}[{}]", Escaped(by.comm.bytes()), by.tid),
            None => "somebody before the trace".to_owned(),
        };
        let intro = Paragraph::new().text(format_args!("{by}, of the end of {}", Count(sockets, "socket")));
        stack(page, report, "told", Some(intro), teller.place)?;
    }
    others(page, group.told.others, "socket", "told at other places")?;
    for &(place, sockets) in &group.shut_down.top {
        let intro = Paragraph::new().text(Count(sockets, "socket"));
        let label = if matches!(group.fate, Some(Fate::ClosedLate | Fate::CleanedUp)) { "closed" } else { "shut down" };
        stack(page, report, label, Some(intro), Some(place))?;
    }
    for sleepers in report.sleepers(group) {
        let whose = if group.process.is_none() { Some(sleepers.pid) } else { None };
        frames::write(page, "asleep", Some(asleep(sleepers, whose)), &sleepers.stack)?;
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
    page.labelled("do", &Paragraph::new().text(advice(group)))?;
    opened(page, report, &group.origin, group.thread)?;
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
    opened(page, report, &closed.origin, closed.thread)?;
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
        let style = if growth.per_minute > 0.0 { BAD } else { PLAIN };
        line = line.item(style, rate(growth));
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

/// `+12/min over 40 s`.
fn rate(Growth { per_minute, window_ns, flat: _ }: Growth) -> String {
    let window = Span(window_ns);
    match per_minute {
        rate if rate.abs() < 0.05 => format!("not growing over {window}"),
        rate if rate.abs() < 10.0 => format!("{rate:+.1}/min over {window}"),
        rate => format!("{rate:+.0}/min over {window}"),
    }
}

fn opened<W: io::Write>(
    page: &mut Page<'_, W>,
    report: &LeakReport,
    origin: &Origin,
    thread: Option<Comm>,
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
            let intro = match thread {
                Some(comm) => intro.glue(",").text(format_args!("by thread {}", Escaped(comm.bytes()))),
                None => intro,
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
        Opening::NotTaken => "its stack was not taken: see what is incomplete above",
        Opening::BeforeTrace => "before the trace: the next leak of its kind will show where",
        Opening::NotSeen if report.unseen.contains(&probes::Role::Accept.lost()) => {
            "by an accept() that was not seen (this kernel has no hook for it)"
        }
        Opening::NotSeen => "by an accept() that was not seen (io_uring, a 32-bit program, or under way at the start)",
        Opening::NotAccepted => "not yet",
    };
    page.labelled(label, &intro.glue(":").text(missing))
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

fn asleep(sleepers: &Sleepers, whose: Option<u32>) -> Paragraph {
    let threads = Paragraph::new().text(Count(sleepers.threads, "thread"));
    let threads = match whose {
        Some(pid) => threads.text(format_args!("of pid {pid}")),
        None => threads,
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
    let mut others = group.held.by.iter().filter(|(process, _)| Some(process.pid) != own).peekable();
    if others.peek().is_none() {
        return Ok(());
    }
    let line = others.fold(Paragraph::new(), |line, &(process, sockets)| {
        line.item(PLAIN, format_args!("{} ({sockets})", ProcessText(process)))
    });
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
