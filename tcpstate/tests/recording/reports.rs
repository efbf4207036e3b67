//! What `tcpstate report` makes of a whole recording.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::tempdir;

use crate::generate;

pub(crate) struct Report {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn report(path: &Path, arguments: &[&str]) -> Report {
    report_to(Stdio::piped(), path, arguments)
}

fn report_to(stdout: impl Into<Stdio>, path: &Path, arguments: &[&str]) -> Report {
    let output = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
        .arg("report")
        .arg(path)
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("NO_COLOR")
        .stdout(stdout)
        .output()
        .expect("tcpstate runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Report { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn lines(report: &Report, kind: &str) -> Vec<Value> {
    let values = report.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    values.filter(|value| value["kind"] == kind).collect()
}

#[test]
fn every_transition_is_shown_once_and_few_bytes_hold_it() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    let (transitions, _) = generate::write(&path, 80_000, 0);
    let bytes = fs::metadata(&path).expect("there").len();
    assert!(bytes < 20 * transitions, "{bytes} bytes for {transitions} transitions");
    let shown = report(&path, &["--show", "trace", "-o", "json"]);
    assert!(shown.status.success(), "{}", shown.stderr);
    assert_eq!(lines(&shown, "transition").len() as u64, transitions);
    let summary = &lines(&shown, "summary")[0];
    assert_eq!((summary["seen"].as_u64(), summary["lost"].as_u64()), (Some(transitions), Some(0)));
    assert!(shown.stderr.starts_with(&format!("{transitions} transitions seen, 0 lost")), "{}", shown.stderr);
}

#[test]
fn filters_and_ranges_choose() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    generate::write(&path, 8_000, 0);
    let all = lines(&report(&path, &["--show", "trace", "-o", "json"]), "transition");
    let first = all[0]["mono_ns"].as_u64().expect("a number");
    let check = |arguments: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        let arguments = [&["--show", "trace", "-o", "json"], arguments].concat();
        let shown = report(&path, &arguments);
        assert!(shown.status.success(), "{arguments:?}: {}", shown.stderr);
        let expected: Vec<_> = all.iter().filter(|transition| wanted(transition)).cloned().collect();
        assert_eq!(lines(&shown, "transition"), expected, "{arguments:?}");
        assert!(expected.len() < all.len() || arguments.contains(&"blue") || arguments.contains(&"443"), "no choice");
        expected.len()
    };
    let pid = |transition: &Value| transition["owner"]["pid"].as_u64();
    assert!(check(&["--pid", "4001"], &|t| pid(t) == Some(4001)) > 0);
    assert!(check(&["--pid", "3999", "--children"], &|t| matches!(pid(t), Some(4000 | 4001))) > 0);
    assert_eq!(check(&["--pid", "3999"], &|_| false), 0);
    assert!(check(&["--state", "close-wait"], &|t| t["old"] == "CLOSE_WAIT" || t["new"] == "CLOSE_WAIT") > 0);
    assert_eq!(check(&["--netns", "blue"], &|_| true), all.len());
    assert_eq!(check(&["--lport", "443"], &|_| true), all.len());
    assert_eq!(check(&["-6"], &|_| false), 0);
    let cut = first + 10_000_000;
    let from = format!("+{}us", (cut - generate::START.0) / 1000);
    let cut = cut / 1000 * 1000;
    assert!(check(&["--from", &from], &|t| t["mono_ns"].as_u64() >= Some(cut)) > 0);
    assert!(check(&["--to", &from], &|t| t["mono_ns"].as_u64() <= Some(cut)) > 0);
    let unknown = report(&path, &["--show", "trace", "--cgroup", "user.slice"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.contains("/system.slice/nginx.service"), "{}", unknown.stderr);
    let known = report(&path, &["--show", "trace", "--cgroup", "system.slice", "-o", "json"]);
    assert_eq!(lines(&known, "transition").len(), all.len());
}

/// Zeros would look like an answer.
#[test]
fn what_is_outside_of_the_recording_is_no_answer() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    let (_, last) = generate::write(&path, 8_000, 10);
    for show in ["leaks", "trace", "summary", "states"] {
        for (range, said) in [
            (["--from", "+99h"], "`--from` is after the recording, which ends at 2026-09-"),
            (["--to", "2026-01-01T00:00:00Z"], "`--to` is before the recording, which begins at 2026-09-"),
        ] {
            let shown = report(&path, &[&["--show", show], &range[..]].concat());
            assert_eq!(shown.status.code(), Some(1), "{show} {range:?}: {}", shown.stdout);
            assert!(shown.stdout.is_empty() && shown.stderr.contains(said), "{show} {range:?}: {}", shown.stderr);
        }
    }
    let end = format!("+{}us", (last.0 - generate::START.0) / 1000);
    let shown = report(&path, &["--show", "trace", "--from", &end]);
    assert!(shown.status.success(), "the last moment is in it: {}", shown.stderr);
}

#[test]
fn groups_are_not_of_transitions() {
    for show in ["trace", "summary"] {
        let shown = report(Path::new("/dev/null"), &["--show", show, "--top", "3"]);
        assert!(!shown.status.success() && shown.stderr.contains("`--top`"), "{}", shown.stderr);
    }
}

/// Every hundredth connection is never closed; times are those of the recording's zone.
#[test]
fn leaks_are_shown_as_of_the_end_and_of_any_moment() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    generate::write(&path, 100_000, 0);
    let total = |arguments: &[&str]| {
        let shown = report(&path, &[&["-o", "json", "--older-than", "1ms"], arguments].concat());
        assert!(shown.status.success(), "{}", shown.stderr);
        let reports = lines(&shown, "leaks");
        assert_eq!(reports.len(), 1);
        reports[0]["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .filter_map(|group| group["sockets"].as_u64())
            .sum::<u64>()
    };
    let (at_the_end, earlier) = (total(&[]), total(&["--to", "+500ms"]));
    assert!(at_the_end > 100 && earlier > 20 && earlier < at_the_end, "{at_the_end} and {earlier}");
    let mine = total(&["--pid", "4003"]);
    assert!(mine > 0 && mine < at_the_end, "{mine}");
    let since = total(&["--from", "+500ms"]);
    assert!((at_the_end - earlier).abs_diff(since) <= 20, "{at_the_end} − {earlier} ≠ {since}");
    let text = report(&path, &["--older-than", "1ms", "--time", "rfc3339"]);
    assert!(text.stdout.starts_with("2026-09-21T17:") && text.stdout.contains("+02:00"), "{}", &text.stdout[..80]);
    let folded = report(&path, &["--older-than", "1ms", "-o", "folded", "--weight", "sockets"]);
    assert!(folded.status.success() && folded.stdout.contains("nginx"), "{}", folded.stderr);
}

/// A recording of a few seconds, begun at 17:06:40 or a little later: its first minute is its own, and earlier times are of that day.
#[test]
fn times_of_day_are_those_that_people_mean() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    let (all, _) = generate::write(&path, 1000, 0);
    let began = report(&path, &["--show", "trace", "-o", "json"]);
    let first: jiff::Timestamp =
        lines(&began, "transition")[0]["time"].as_str().expect("text").parse().expect("a time");
    let zone = jiff::tz::TimeZone::get("Europe/Vienna").expect("a zone");
    let began = zone.to_datetime(first);
    let minute = began.strftime("%H:%M").to_string();
    let earlier = began.checked_sub(jiff::SignedDuration::from_mins(90)).expect("a time").strftime("%H:%M").to_string();
    for arguments in
        [&["--from", &minute][..], &["--to", &minute], &["--from", &minute, "--to", &minute], &["--from", &earlier]]
    {
        let shown = report(&path, &[&["--show", "trace", "-o", "json"], arguments].concat());
        assert!(shown.status.success(), "{arguments:?}: {}", shown.stderr);
        assert_eq!(lines(&shown, "transition").len() as u64, all, "{arguments:?}");
    }
    let refused = report(&path, &["--to", &earlier]);
    assert!(refused.stderr.contains("`--to` is before the recording, which begins at"), "{}", refused.stderr);
}

#[test]
fn a_full_disk_is_told_of_by_the_name_of_what_could_not_be_written() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    generate::write(&path, 1000, 0);
    for show in ["leaks", "trace", "summary"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let shown = report_to(full, &path, &["--show", show]);
        assert_eq!(shown.status.code(), Some(1), "{show}: {}", shown.stderr);
        let expected = "error: failed to write to standard output: No space left on device (os error 28)\n";
        assert!(shown.stderr.ends_with(expected), "{show}: {}", shown.stderr);
    }
}
