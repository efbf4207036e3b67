//! `tcpstate leaks -o text`: for a person in a hurry, the worst first.

mod examples;
mod frames;
pub(super) mod group;

use std::io;

use tcpstate_core::aggregate::leaks::{Forecast, LeakingProcess};

use super::{
    clock::TimeFormat,
    leaks::LeakReport,
    page::{Page, Paragraph},
    span::Span,
    style::{BAD, BOLD, DIM, GOOD, PLAIN, WARNING},
    words::{Count, ProcessText},
};

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
        for unseen in &report.unseen {
            page.headline(&Paragraph::new().word(WARNING, "on this kernel:").text(unseen))?;
        }
        if !report.survey.processes.is_empty() {
            page.blank()?;
        }
        for row in &report.survey.processes {
            page.headline(&process(row))?;
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
        let style = if totals.close_wait + totals.ghosts == 0 && report.is_complete() { GOOD } else { BOLD };
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
                Count(totals.ghosts, "ghost descriptor")
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
            "{} lost, the ring buffer was full: {repaired}; a larger `--buffer` or a filter helps",
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
        warnings.push(format!(
            "{dropped} lost, their buffer was full; a smaller `--stack-size` or a larger `--buffer` helps"
        ));
    }
    warnings
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
    let line = line.glue(",").text(format_args!("{} here", Count(row.sockets, "socket")));
    match row.forecast.filter(|_| row.descriptors < row.limit) {
        Some(Forecast { soonest_ns, latest_ns }) => {
            let (soonest, latest) = (Span(soonest_ns).to_string(), Span(latest_ns).to_string());
            let when = if soonest == latest { soonest } else { format!("{soonest} to {latest}") };
            line.glue(";").word(BAD, format_args!("full in {when} if it goes on like this"))
        }
        None => line,
    }
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
