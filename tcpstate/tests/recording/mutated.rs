//! Recordings of which a few bytes are others, with checksums that match: whatever they say by then, a report comes to its end.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    time::{Duration, Instant},
};

use tcpstate_fuzzing::vary::variation;
use tcpstate_recording::{Content, Reader, v1};
use tempfile::tempdir;

use crate::{hostile, made::Made, reports::report};

const REPORTS: u64 = 150;
/// More than is needed, but on a machine that is busy.
const TIME: Duration = Duration::from_secs(20);

const VIEWS: [&[&str]; 11] = [
    &["-o", "text"],
    &["-o", "json"],
    &["-o", "svg"],
    &["-o", "folded"],
    &["--from", "+1s"],
    &["--pid", "4000", "--children", "--comm", "nginx"],
    &["--show", "trace"],
    &["--show", "trace", "-o", "json"],
    &["--show", "summary"],
    &["--show", "states"],
    &["--show", "states", "-o", "json", "--by", "process", "--from", "+1us"],
];

/// The kinds and payloads of the frames after the first.
fn payloads(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut reader = Reader::new(bytes).expect("a recording");
    let mut payloads = Vec::new();
    while let Some(content) = reader.frame().expect("a whole frame") {
        payloads.push((content.kind() as u16, v1::encode(content).expect("memory")));
    }
    payloads
}

#[test]
fn a_report_comes_to_its_end() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("mutated.tcps");
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("recording/tests/v1/server.tcps");
    let recordings = [payloads(&hostile::recording()), payloads(&fs::read(server).expect("kept with the sources"))];
    let began = Instant::now();
    for number in 0..REPORTS {
        if began.elapsed() > TIME {
            break;
        }
        let payloads = &recordings[number as usize % 2];
        let changed = (number / 2) as usize * 7 % payloads.len();
        let other = &payloads[(number as usize * 5) % payloads.len()].1;
        let mut made = Made::empty();
        for (at, (kind, payload)) in payloads.iter().enumerate() {
            match at == changed {
                true => made.push(*kind, &variation(payload, other, number)),
                false => made.push(*kind, payload),
            }
        }
        fs::write(&path, made.bytes()).expect("disk");
        let view = VIEWS[number as usize % VIEWS.len()];
        let shown = report(&path, view);
        let is_an_answer = shown.status.signal().is_none() && shown.status.code().is_some_and(|code| code < 2);
        assert!(is_an_answer && !shown.stderr.contains("panicked"), "{number}, {view:?}: {}", shown.stderr);
    }
}

#[test]
fn what_is_not_changed_is_read() {
    let payloads = payloads(&hostile::recording());
    let mut made = Made::empty();
    payloads.iter().for_each(|(kind, payload)| made.push(*kind, payload));
    let mut reader = Reader::new(made.bytes()).expect("a recording");
    let mut last = None;
    while let Some(content) = reader.frame().expect("a whole frame") {
        last = Some(content);
    }
    assert!(matches!(last, Some(Content::End(_))), "{last:?}");
}
