//! `tcpstate run --report`: one object, as `schema/run-v1.schema.json` says.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;
use tcpstate_core::aggregate::leaks::LeakFinding;

use super::{
    escape::Escaped,
    json::Line,
    leaks_json::{
        body::{LossesBody, losses},
        group::{GroupBody, group_body},
    },
    run::{CommandEnd, RunReport},
};

/// Version of the schema. Fields may be added within a version; a field that changes its meaning or goes away makes a new one.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct RunBody<'a> {
    command: Vec<String>,
    pid: u32,
    duration_ns: u64,
    command_exit_code: Option<u8>,
    command_signal: Option<i32>,
    exit_code: u8,
    older_than_ns: u64,
    max_dwell_ns: Option<u64>,
    complete: bool,
    losses: LossesBody,
    unseen: &'a [&'static str],
    leaked: u64,
    allowed: u64,
    not_kept: u64,
    processes_left: u64,
    leaks: Vec<LeakBody<'a>>,
    allow_list: Option<String>,
    rules: Vec<AllowanceBody>,
}

#[derive(Serialize)]
struct LeakBody<'a> {
    fate: &'static str,
    /// Line of the rule that lets them pass.
    allowed_by: Option<usize>,
    processes: u64,
    #[serde(flatten)]
    group: GroupBody<'a>,
}

#[derive(Serialize)]
struct AllowanceBody {
    line: usize,
    reason: String,
    sockets: u64,
}

/// The text of a report, one line; `code` is the exit code that will be.
///
/// # Errors
///
/// None that a report can cause.
pub fn render(report: &RunReport, code: u8) -> serde_json::Result<Vec<u8>> {
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let escaped = |bytes: &[u8]| Escaped(bytes).to_string();
    let (command_exit_code, command_signal) = match report.end {
        CommandEnd::Exited(code) => (Some(code), None),
        CommandEnd::Killed(signal) => (None, Some(signal)),
    };
    let body = RunBody {
        command: report.command.iter().map(|argument| escaped(argument.as_bytes())).collect(),
        pid: report.pid,
        duration_ns: report.took_ns(),
        command_exit_code,
        command_signal,
        exit_code: code,
        older_than_ns: nanoseconds(report.older_than),
        max_dwell_ns: report.max_dwell.map(nanoseconds),
        complete: report.leaks.is_complete() && report.outcome.not_kept == 0,
        losses: losses(&report.leaks),
        unseen: &report.leaks.unseen,
        leaked: report.leaked(),
        allowed: report.outcome.allowed().values().sum(),
        not_kept: report.outcome.not_kept,
        processes_left: report.processes_left,
        leaks: report.outcome.findings.iter().map(|finding| leak_body(report, finding)).collect(),
        allow_list: report.allow_list.as_ref().map(|path| escaped(path.as_os_str().as_bytes())),
        rules: report
            .allowances
            .iter()
            .map(|rule| AllowanceBody {
                line: rule.line,
                reason: escaped(rule.reason.as_bytes()),
                sockets: rule.sockets,
            })
            .collect(),
    };
    let mut text = serde_json::to_vec(&Line::new(SCHEMA, "run", report.clock, report.leaks.survey.now, body))?;
    text.push(b'\n');
    Ok(text)
}

fn leak_body<'a>(report: &'a RunReport, finding: &'a LeakFinding) -> LeakBody<'a> {
    LeakBody {
        fate: finding.fate.name(),
        allowed_by: finding.rule.and_then(|rule| report.allowances.get(rule)).map(|rule| rule.line),
        processes: finding.processes,
        group: group_body(&report.leaks, &finding.group),
    }
}
