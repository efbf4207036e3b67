//! A recording that the first version made of a server which leaks in every way, and what `tcpstate report` printed of it then.
//!
//! `UPDATE_GOLDEN=1` writes the reports anew: only where they are meant to say something else, never for the recording's sake.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::reports::report;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recording/tests/v1")
}

#[track_caller]
fn assert_report(name: &str, arguments: &[&str]) {
    let shown = report(&kept().join("server.tcps"), arguments);
    assert!(shown.status.success(), "{name}: {}", shown.stderr);
    assert!(shown.stderr.contains("WARN recorded with --netns blue"), "{name}: {}", shown.stderr);
    let golden = kept().join("reports").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &shown.stdout).expect("the sources can be written to");
    }
    let expected = fs::read_to_string(&golden).expect("kept with the sources");
    let differs = expected.lines().zip(shown.stdout.lines()).find(|(expected, shown)| expected != shown);
    assert!(expected == shown.stdout, "{name} differs in {differs:?}");
}

#[test]
fn its_leaks_are_reported_as_they_were() {
    assert_report("leaks.txt", &["--older-than", "500ms"]);
    assert_report("leaks-early.txt", &["--older-than", "500ms", "--to", "+2s"]);
    assert_report("leaks.folded", &["--older-than", "500ms", "-o", "folded", "--weight", "sockets"]);
    assert_report("leaks.json", &["--lport", "9090", "-o", "json"]);
}

#[test]
fn its_transitions_are_reported_as_they_were() {
    assert_report("trace.txt", &["--show", "trace"]);
    let chosen = ["--cgroup", "system.slice", "--lport", "8443", "--time", "none"];
    assert_report("trace.json", &[&["--show", "trace", "-o", "json"], &chosen[..]].concat());
    assert_report("summary.txt", &["--show", "summary"]);
}

#[test]
fn its_counts_are_reported_as_they_were() {
    assert_report("states.txt", &["--show", "states", "--from", "+1s"]);
    assert_report("states.json", &["--show", "states", "--by", "cgroup", "-o", "json"]);
}
