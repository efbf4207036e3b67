//! `tcpstate leaks -o text`: for a person in a hurry, the worst first.

mod examples;
mod frames;
pub(super) mod group;

use std::{fmt::Write as _, io};

use tcpstate_core::aggregate::leaks::{Beyond, Forecast, LeakingProcess, Surplus};

use super::{
    clock::TimeFormat,
    leaks::LeakReport,
    page::{Page, Paragraph},
    span::Span,
    style::{BAD, BOLD, DIM, GOOD, PLAIN, WARNING},
    words::{Count, GrowthText, ProcessText, RateText},
};

/// Where this part of the descriptors that a process gets are leaked sockets, it is these that fill it.
const MOST: f64 = 0.9;

/// Renders reports of leaks for people.
#[derive(Clone, Debug)]
pub struct LeaksText {
    /// How the moment of a report is shown.
    pub time: TimeFormat,
    /// Whether it is coloured.
    pub color: bool,
    /// Columns of the terminal; without them lines are as long as what is in them.
    pub width: Option<usize>,
}

impl LeaksText {
    /// Writes a report.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn report(&self, out: &mut impl io::Write, report: &LeakReport) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        page.headline(&self.totals(report))?;
        for warning in warnings(report) {
            page.headline(&Paragraph::new().word(WARNING, "incomplete:").text(warning))?;
        }
        if !report.knows_ghosts() {
            let text =
                "ghost descriptors, and where leaks are opened, are seen only by a hunt that goes on: leave it out";
            page.headline(&Paragraph::new().word(WARNING, "with --once:").text(text))?;
        }
        for surplus in surplus(report) {
            page.headline(&Paragraph::new().word(WARNING, "too much:").text(surplus))?;
        }
        for unseen in &report.unseen {
            page.headline(&Paragraph::new().word(WARNING, "for want of a hook:").text(unseen))?;
        }
        if !report.survey.processes.is_empty() {
            page.blank()?;
        }
        for row in &report.survey.processes {
            page.headline(&process(row))?;
        }
        let Beyond { number, sockets } = report.survey.surplus.processes;
        if number > 0 {
            let text = format!("{} with {}", Count(number, "more process"), Count(sockets, "socket"));
            page.headline(&Paragraph::new().styled(DIM, text))?;
        }
        for group in report.shown() {
            page.blank()?;
            group::write(&mut page, report, group)?;
        }
        let left_out = report.left_out();
        if !left_out.is_empty() {
            page.blank()?;
            let sockets = left_out.iter().map(|group| group.sockets).sum();
            let groups = Count(left_out.len() as u64, "more group");
            let text = format!("{groups} with {}: see them with a larger `--top`", Count(sockets, "socket"));
            page.headline(&Paragraph::new().styled(DIM, text))?;
        }
        for group in report.sending() {
            page.blank()?;
            group::write_sending(&mut page, report, group)?;
        }
        for closed in report.closed_late() {
            page.blank()?;
            group::write_closed(&mut page, report, closed)?;
        }
        rest(&mut page, report)
    }

    fn totals(&self, report: &LeakReport) -> Paragraph {
        let totals = &report.survey.totals;
        let style = if totals.close_wait + totals.ghosts == 0 && report.is_complete() && report.knows_ghosts() {
            GOOD
        } else {
            BOLD
        };
        let mut line = Paragraph::new();
        let time = self.time.at(report.survey.now).to_string();
        if !time.is_empty() {
            line = line.word(DIM, time);
        }
        line = line.styled(
            style,
            format_args!(
                "{} in CLOSE_WAIT in {}, {}",
                Count(totals.close_wait, "socket"),
                Count(totals.processes, "process"),
                match (report.knows_ghosts(), totals.ghosts) {
                    (true, ghosts) => Count(ghosts, "ghost descriptor").to_string(),
                    (false, 0) => "ghost descriptors not known".to_owned(),
                    (false, ghosts) => format!("at least {}", Count(ghosts, "ghost descriptor")),
                }
            ),
        );
        if totals.sending > 0 {
            line = line.glue(",").text(format_args!("{} half-closed and in use", totals.sending));
        }
        if totals.young > 0 {
            line = line.glue(",").text(format_args!("{} not known to be old enough", totals.young));
        }
        if totals.closed_late > 0 {
            line = line.glue(",").text(format_args!("{} closed late", totals.closed_late));
        }
        line
    }
}

/// What is missing from a report, and what would help.
pub(super) fn warnings(report: &LeakReport) -> Vec<String> {
    let losses = &report.losses;
    let mut warnings = Vec::new();
    if losses.events > 0 {
        let repaired = match (report.unrepaired, report.survey.snapshot) {
            (false, Some(taken)) => {
                let ago = Span(report.survey.now.0.saturating_sub(taken.0));
                format!(
                    "the sockets are right as of a snapshot {ago} ago, late closes and reads of the end are missing"
                )
            }
            _ => "sockets may be missing or shown wrongly until the next snapshot".to_owned(),
        };
        warnings.push(format!(
            "{} lost: {repaired}; where the ring buffer was full, a larger `--buffer` or a filter helps",
            Count(losses.events, "event")
        ));
    }
    if losses.map_full > 0 {
        warnings.push(format!(
            "the map of sockets was full for {}, whose opening is unknown; a filter helps",
            Count(losses.map_full, "socket")
        ));
    }
    if losses.stacks_skipped > 0 {
        let skipped = Count(losses.stacks_skipped, "stack");
        warnings
            .push(format!("{skipped} not taken because too many new places came at once; the next of their kind are"));
    }
    if losses.stacks_dropped > 0 {
        let dropped = Count(losses.stacks_dropped, "stack");
        warnings.push(format!("{dropped} lost, their buffer was full; a smaller `--stack-size` or a filter helps"));
    }
    warnings
}

/// What there was too much of to keep or to show.
fn surplus(report: &LeakReport) -> Vec<String> {
    let Surplus { groups, sending, trends, processes: _, followed, places: _, listening } = report.survey.surplus;
    let mut surplus = Vec::new();
    for (beyond, what) in [(groups, "smaller group"), (sending, "smaller group of half-closes")] {
        if beyond.number > 0 {
            let (number, sockets) = (Count(beyond.number, what), Count(beyond.sockets, "socket"));
            surplus.push(format!("{number} with {sockets}, only counted; a filter, or a longer `--older-than`, helps"));
        }
    }
    if trends > 0 {
        surplus.push(format!("{} not followed over time: without growth", Count(trends, "group")));
    }
    if followed > 0 {
        let processes = Count(followed, "process");
        surplus.push(format!("{processes} not followed over time: without growth and forecast"));
    }
    if report.nameless() > 0 {
        let stacks = Count(report.nameless(), "stack");
        surplus.push(format!("{stacks} without names: those of the most and the oldest sockets have them"));
    }
    if report.other_sleepers > 0 {
        surplus.push(format!("{} asleep at places that are not shown", Count(report.other_sleepers, "thread")));
    }
    if listening > 0 {
        let text =
            "too many ports listened on: of sockets of before the trace it may not be known whether they were accepted";
        surplus.push(text.to_owned());
    }
    surplus
}

fn process(row: &LeakingProcess) -> Paragraph {
    let line = Paragraph::new().word(BOLD, ProcessText(row.process));
    let line = match (row.descriptors, row.limit) {
        (Some(used), Some(limit)) if used >= limit => {
            line.item(BAD, format_args!("{used} of {limit} descriptors: the limit is reached"))
        }
        (Some(used), Some(limit)) => line.item(PLAIN, format_args!("{used} of {limit} descriptors")),
        (Some(used), None) => line.item(PLAIN, format_args!("{used} descriptors, no limit known")),
        (None, _) => line.item(DIM, "descriptors not known"),
    };
    let held = row.sockets.saturating_sub(row.unaccepted);
    let line = match (held, row.unaccepted) {
        (0, 1..) => line,
        _ => line.glue(",").text(format_args!("{} here", Count(held, "socket"))),
    };
    let line = match row.unaccepted {
        0 => line,
        waiting => line.glue(",").text(format_args!("{} to be accepted", Count(waiting, "connection"))),
    };
    match row.forecast.filter(|_| row.descriptors < row.limit) {
        Some(Forecast { soonest_ns, latest_ns }) => {
            let (soonest, latest) = (Span(soonest_ns).to_string(), Span(latest_ns).to_string());
            let when = if soonest == latest { soonest } else { format!("{soonest} to {latest}") };
            let line = line.glue(";").text(growing(row)).glue(":");
            line.word(BAD, format_args!("full in {when} if it goes on like this"))
        }
        None => line,
    }
}

/// What the forecast is of: descriptors, and how many of these are leaked sockets.
fn growing(row: &LeakingProcess) -> String {
    let mut text = "descriptors".to_owned();
    let Some(descriptors) = row.descriptor_growth else { return text };
    // Formatting into a string does not fail.
    let _ = write!(text, " {}", GrowthText(descriptors));
    match row.leaked_growth {
        Some(leaked) if !leaked.is_up() => text.push_str(", not by leaked sockets"),
        Some(leaked) if leaked.has_rate() && leaked.per_minute < MOST * descriptors.per_minute => {
            let _ = write!(text, ", {} of them leaked sockets", RateText(leaked));
        }
        Some(_) | None => {}
    }
    text
}

/// What of the half-closes and late closes is not shown.
fn rest<W: io::Write>(page: &mut Page<'_, W>, report: &LeakReport) -> io::Result<()> {
    let survey = &report.survey;
    let left_out = [
        (survey.sending.len() - report.sending().len(), "more group", "of half-closes in use"),
        (survey.closed_late.len() - report.closed_late().len(), "more group", "of late closes"),
    ];
    for (n, thing, what) in left_out {
        if n > 0 {
            let text = format!("{} {what}: see them with a larger `--top`", Count(n as u64, thing));
            page.headline(&Paragraph::new().styled(DIM, text))?;
        }
    }
    if survey.totals.closed_forgotten > 0 {
        let text = format!(
            "{} closed late by processes or code not seen for long: no longer kept apart",
            Count(survey.totals.closed_forgotten, "socket")
        );
        page.headline(&Paragraph::new().styled(DIM, text))?;
    }
    Ok(())
}
