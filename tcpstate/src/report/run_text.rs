//! What `tcpstate run` says on standard error when the command has ended.

use std::{fmt::Write as _, io, os::unix::ffi::OsStrExt as _, path::Path};

use super::{
    escape::Escaped,
    leaks_text::{group, warnings},
    page::{Page, Paragraph},
    run::{CommandEnd, RunReport},
    span::Span,
    style::{BAD, BOLD, DIM, GOOD, PLAIN, WARNING},
    words::{Count, processes},
};

/// Renders reports of runs for people.
#[derive(Clone, Copy, Debug)]
pub struct RunText {
    /// Whether it is coloured.
    pub color: bool,
    /// Columns of the terminal; without them lines are as long as what is in them.
    pub width: Option<usize>,
    /// Groups shown at most.
    pub top: usize,
}

impl RunText {
    /// Writes a report; `code` is the exit code that will be.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn report(&self, out: &mut impl io::Write, report: &RunReport, code: u8) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        page.headline(&headline(report, code))?;
        for unseen in &report.leaks.unseen {
            page.headline(&Paragraph::new().word(WARNING, "for want of a hook:").text(unseen))?;
        }
        for warning in warnings(&report.leaks) {
            page.headline(&Paragraph::new().word(WARNING, "incomplete:").text(warning))?;
        }
        if report.outcome.not_kept > 0 {
            let text = format!(
                "{} had no room and are in no group; the allow list was not asked about them",
                Count(report.outcome.not_kept, "leaked socket")
            );
            page.headline(&Paragraph::new().word(WARNING, "incomplete:").text(text))?;
        }
        if report.processes_left > 0 {
            let text = format!(
                "{} started by the command still running: looked at now, not any further",
                Count(report.processes_left, "process")
            );
            page.headline(&Paragraph::new().word(WARNING, "note:").text(text))?;
        }
        let leaking = report.leaking();
        for finding in leaking.iter().take(self.top) {
            page.blank()?;
            group::write(&mut page, &report.leaks, &finding.group)?;
            if finding.processes > 1 {
                page.labelled("processes", &Paragraph::new().text(processes(finding)))?;
            }
        }
        let left_out = &leaking[self.top.min(leaking.len())..];
        if !left_out.is_empty() {
            let sockets = left_out.iter().map(|finding| finding.group.sockets).sum();
            let groups = Count(left_out.len() as u64, "more group");
            page.blank()?;
            let text = format!("{groups} with {}: see them with a larger `--top`", Count(sockets, "socket"));
            page.headline(&Paragraph::new().styled(DIM, text))?;
        }
        allowances(&mut page, report)
    }
}

fn headline(report: &RunReport, code: u8) -> Paragraph {
    let leaked = report.leaked();
    let complete = report.leaks.is_complete();
    let line = Paragraph::new().word(BOLD, "tcpstate:");
    let line = match leaked {
        0 if complete => line.styled(GOOD, "no socket leaked"),
        0 => line.styled(WARNING, "no leaked socket seen"),
        n => line.styled(BAD, format_args!("{} leaked", Count(n, "socket"))),
    };
    let line = line.text(format_args!("in {}", Span(report.took_ns())));
    let ended = match report.end {
        CommandEnd::Exited(0) => "the command succeeded".to_owned(),
        CommandEnd::Exited(code) => format!("the command failed with exit code {code}"),
        CommandEnd::Killed(signal) => format!("the command was ended by signal {signal}"),
    };
    let line = line.glue(";").text(ended);
    if report.end.code() == code { line } else { line.glue(",").text(format_args!("exit code {code}")) }
}

fn allowances<W: io::Write>(page: &mut Page<'_, W>, report: &RunReport) -> io::Result<()> {
    let Some(path) = &report.allow_list else { return Ok(()) };
    let mut begun = false;
    for allowance in report.allowances.iter().filter(|allowance| allowance.sockets > 0) {
        if !begun {
            page.blank()?;
            begun = true;
        }
        let reason = Escaped(allowance.reason.as_bytes());
        let line = Paragraph::new().word(GOOD, "allowed:").text(Count(allowance.sockets, "socket"));
        page.headline(&line.text(format_args!("by {}: {reason}", place(path, allowance.line))))?;
    }
    for allowance in report.unused() {
        if !begun {
            page.blank()?;
            begun = true;
        }
        let reason = Escaped(allowance.reason.as_bytes());
        let line = Paragraph::new().word(WARNING, "unused rule:").word(PLAIN, place(path, allowance.line));
        page.headline(&line.glue(":").text(format_args!("{reason}; remove it if its leak is fixed")))?;
    }
    Ok(())
}

/// `allow.toml:12`.
fn place(path: &Path, line: usize) -> String {
    let mut place = Escaped(path.as_os_str().as_bytes()).to_string();
    // Formatting into a string does not fail.
    let _ = write!(place, ":{line}");
    place
}
