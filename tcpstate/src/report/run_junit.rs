//! `tcpstate run --junit`: a test case for each group of leaked sockets, or one that passes when none leaked.

use std::{os::unix::ffi::OsStrExt as _, time::Duration};

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tcpstate_core::aggregate::leaks::{Group, LeakFinding};

use super::{
    escape::Escaped,
    evidence::evidence,
    leaks::LeakReport,
    leaks_text::{group, warnings},
    page::Page,
    run::RunReport,
    words::{Count, fate_text, processes},
};

/// The text of a report.
///
/// # Errors
///
/// None that a report can cause.
pub fn render(report: &RunReport) -> Result<String> {
    let mut suite = TestSuite::new("tcpstate run");
    suite.set_time(Duration::from_nanos(report.took_ns()));
    for finding in &report.outcome.findings {
        suite.add_test_case(case(report, finding)?);
    }
    if report.outcome.not_kept > 0 {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let sockets = Count(report.outcome.not_kept, "leaked socket");
        status.set_message(format!("{sockets} had no room and are in no group"));
        suite.add_test_case(named("leaked sockets without a group", status));
    }
    if report.outcome.findings.is_empty() && report.outcome.not_kept == 0 {
        suite.add_test_case(named("no socket leaked", TestCaseStatus::success()));
    }
    for rule in report.unused() {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("line {} lets nothing pass: {}", rule.line, escaped(rule.reason.as_bytes())));
        suite.add_test_case(named(&format!("unused rule at line {}", rule.line), status));
    }
    let unseen = report.leaks.unseen.iter().map(|unseen| format!("for want of a hook: {unseen}"));
    let incomplete = warnings(&report.leaks).into_iter().map(|warning| format!("incomplete: {warning}"));
    let limits: Vec<_> = unseen.chain(incomplete).collect();
    if !limits.is_empty() {
        suite.set_system_err(limits.join("\n"));
    }
    let command: Vec<_> = report.command.iter().map(|argument| escaped(argument.as_bytes())).collect();
    let mut junit = Report::new(command.join(" "));
    junit.add_test_suite(suite);
    junit.to_string().context("failed to write XML")
}

fn case(report: &RunReport, finding: &LeakFinding) -> Result<TestCase> {
    let group = &finding.group;
    let Group { sockets, verdict, .. } = group;
    let rule = finding.rule.and_then(|rule| report.allowances.get(rule));
    let mut status = match rule {
        Some(rule) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("allowed at line {}: {}", rule.line, escaped(rule.reason.as_bytes())));
            status
        }
        None => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let (fate, evidence) = (fate_text(finding.fate), evidence(&report.leaks, group));
            let sockets = Count(*sockets, "socket");
            status.set_message(format!("{sockets} {}, {fate}: {evidence}", verdict.name()));
            status.set_type(verdict.name());
            status
        }
    };
    if rule.is_none() {
        let mut text = Vec::new();
        group::write(&mut Page::new(&mut text, None, false), &report.leaks, group)?;
        status.set_description(String::from_utf8_lossy(&text).into_owned());
    }
    let place = place(&report.leaks, group).unwrap_or_else(|| "stack not known".to_owned());
    Ok(named(&format!("{} {}, {}: {place}", verdict.name(), fate_text(finding.fate), processes(finding)), status))
}

/// The innermost function of the user's own code that opened the sockets, with its line.
fn place(report: &LeakReport, group: &Group) -> Option<String> {
    let stack = report.stack(group.origin.opening.place()?)?;
    let frame = stack.frames.iter().find(|frame| !frame.is_library()).or_else(|| stack.frames.first())?;
    let source = frame.source.as_ref().map_or_else(String::new, |source| {
        let line = source.line.map_or_else(String::new, |line| format!(":{line}"));
        format!(" {}{line}", escaped(source.file.as_os_str().as_bytes()))
    });
    Some(format!("{}{source}", escaped(frame.name().as_bytes())))
}

fn named(name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname("tcpstate");
    case
}

fn escaped(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}
