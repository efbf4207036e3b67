//! What `tcpstate report --show states` makes of censuses in a recording: the same as `tcpstate states` would have made of them.

use std::{net::IpAddr, num::NonZeroU64, path::Path};

use serde_json::Value;
use tcpstate::report::{clock::WallClock, states_json::StatesJson};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::states::{By, SocketCounts, SocketFilter, count},
    model::{
        Age, Comm, Endpoint, Family, MonotonicNs, State,
        census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
    },
};
use tcpstate_recording::{Content, Counts, FrameKind, RecordingEnd, v1};
use tempfile::tempdir;

use crate::{
    generate::{self, Recording, START},
    reports::report,
};

const SECOND: u64 = 1_000_000_000;
const BLUE: u32 = 4_026_531_833;

fn comm(name: &[u8]) -> Comm {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name);
    Comm(comm)
}

/// So many sockets leaked by process 4001, whose parent is 3999, and what stands around them.
fn census(leaked: u16) -> Census {
    let end = |addr: &str, port| Endpoint { addr: addr.parse::<IpAddr>().expect("an address"), port };
    let socket = |state, inode, local, remote| ListedSocket {
        cookie: 0,
        family: Family::Inet,
        state: State::Known(state),
        local,
        remote,
        inode,
        cgroup: NonZeroU64::new(5051),
        receive_queue: 1,
        send_queue: 128,
        age: None,
    };
    let leak = |number: u16| ListedSocket {
        age: Some(Age { at_least_ns: u64::from(number) * SECOND, at_most_ns: Some(u64::from(number) * SECOND + 5) }),
        ..socket(TcpState::CloseWait, 100 + u32::from(number), end("10.0.0.1", 443), end("10.1.2.3", 50_000 + number))
    };
    let mut sockets: Vec<ListedSocket> = (0..leaked).map(leak).collect();
    sockets.push(socket(TcpState::Listen, 7, end("0.0.0.0", 443), end("0.0.0.0", 0)));
    sockets.push(ListedSocket {
        cgroup: NonZeroU64::new(9),
        ..socket(TcpState::Established, 8, end("10.0.0.1", 40_001), end("10.9.9.9", 5432))
    });
    sockets.push(ListedSocket {
        cgroup: None,
        age: Some(Age { at_least_ns: SECOND, at_most_ns: None }),
        ..socket(TcpState::TimeWait, 0, end("10.0.0.1", 40_002), end("10.9.9.9", 5432))
    });
    let mut holders: Vec<_> = (0..u32::from(leaked)).map(|number| (100 + number, 1)).chain([(7, 0), (8, 2)]).collect();
    holders.sort_unstable();
    let process = |pid, name, descriptors| FoundProcess { pid, comm: Some(comm(name)), descriptors, limit: Some(1024) };
    Census {
        namespaces: vec![
            FoundNamespace {
                inode: BLUE,
                own: true,
                names: vec![b"blue".to_vec()],
                sockets,
                listening: vec![40_003],
                listen_overflows: Some(u64::from(leaked)),
                listen_drops: Some(u64::from(leaked)),
                ports: Some(EphemeralPorts { low: 40_000, high: 40_999, reserved: vec![(40_500, 40_599)] }),
            },
            FoundNamespace {
                inode: 77,
                sockets: vec![socket(TcpState::Listen, 9, end("127.0.0.1", 9), end("0.0.0.0", 0))],
                ..FoundNamespace::default()
            },
        ],
        processes: vec![process(4000, b"nginx", 9), process(4001, b"nginx", 1000), process(4321, b"other", 7)],
        holders,
        cgroups: [(5051, b"/system.slice/nginx.service".to_vec())].into(),
        gaps: Gaps {
            namespaces: vec![("red".to_owned(), "not permitted".to_owned())],
            processes: 1,
            ..Gaps::default()
        },
    }
}

fn at(seconds: u64) -> MonotonicNs {
    MonotonicNs(START.0 + seconds * SECOND)
}

/// Censuses at 1, 2 and 3 seconds, at 10, 20 and 30 leaks, and leaks that the events tell of besides.
fn write(path: &Path) {
    let mut recording = Recording::create(path);
    recording.write(Content::Start(Box::new(generate::start())));
    recording.write(Content::Names(generate::names()));
    let mut connections = generate::Connections::new();
    for second in 1..=3 {
        for event in std::iter::repeat_with(|| connections.event()).take(100).flatten() {
            recording.event(event);
        }
        recording.write_census(census(u16::try_from(second * 10).expect("small")), at(second));
        let totals = tcpstate_core::model::Totals::default();
        recording.write(Content::Counts(Counts { at: MonotonicNs(at(second).0 + 1), totals }));
    }
    recording.write(Content::End(RecordingEnd { at: at(4), rotated: false }));
}

/// What `tcpstate states -o json` writes of a census.
fn live(leaked: u16, now: MonotonicNs, filter: &SocketFilter, by: Option<By>, only: Option<u32>) -> SocketCounts {
    let mut counted = census(leaked);
    counted.namespaces.iter_mut().for_each(|namespace| namespace.own = false);
    counted.namespaces.retain(|namespace| only.is_none_or(|only| namespace.inode == only));
    if only.is_some() {
        counted.gaps.namespaces.clear();
    }
    count(&counted, filter, by, now)
}

fn json(counts: &SocketCounts) -> Value {
    let mut out = Vec::new();
    StatesJson::new(WallClock { offset_ns: generate::start().wall_offset_ns }, 10)
        .report(&mut out, counts)
        .expect("a Vec takes it");
    serde_json::from_slice(&out).expect("JSON")
}

fn shown(path: &Path, arguments: &[&str]) -> Vec<Value> {
    let shown = report(path, &[&["--show", "states", "-o", "json"], arguments].concat());
    assert!(shown.status.success(), "{arguments:?}: {}", shown.stderr);
    shown.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_census_is_shown_as_it_would_have_been_live() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    write(&path);
    let all = SocketFilter::default();
    let check = |arguments: &[&str], filter: &SocketFilter, by, only| {
        assert_eq!(shown(&path, arguments), [json(&live(30, at(3), filter, by, only))], "{arguments:?}");
    };
    check(&[], &all, None, None);
    check(&["--to", "+1h"], &all, None, None);
    for (name, by) in [
        ("process", By::Process),
        ("netns", By::Netns),
        ("cgroup", By::Cgroup),
        ("lport", By::Lport),
        ("remote", By::Remote),
    ] {
        check(&["--by", name], &all, Some(by), None);
    }
    let filter = |change: &dyn Fn(&mut SocketFilter)| {
        let mut filter = SocketFilter::default();
        change(&mut filter);
        filter
    };
    check(&["--pid", "4001"], &filter(&|filter| filter.pids = vec![4001]), None, None);
    check(&["--pid", "3999"], &filter(&|filter| filter.pids = vec![3999]), None, None);
    check(&["--pid", "3999", "--children"], &filter(&|filter| filter.pids = vec![4000, 4001]), None, None);
    check(&["--comm", "other"], &filter(&|filter| filter.comms = vec![comm(b"other")]), None, None);
    check(&["--cgroup", "system.slice"], &filter(&|filter| filter.cgroups = Some([5051].into())), None, None);
    check(&["--netns", "blue"], &all, None, Some(BLUE));
    check(&["--lport", "443"], &filter(&|filter| filter.local_ports = vec![443]), None, None);
    check(&["--raddr", "10.9.0.0/16"], &filter(&|filter| filter.remote_net = "10.9.0.0/16".parse().ok()), None, None);
    check(&["-6"], &filter(&|filter| filter.family = Some(Family::Inet6)), None, None);
    check(
        &["--state", "time-wait,listen"],
        &filter(&|filter| filter.states = [TcpState::TimeWait, TcpState::Listen].map(State::Known).to_vec()),
        None,
        None,
    );
}

#[test]
fn ranges_choose_among_censuses() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    write(&path);
    let all = SocketFilter::default();
    let [first, second, third] =
        [(10, 1), (20, 2), (30, 3)].map(|(leaked, time)| live(leaked, at(time), &all, None, None));
    assert_eq!(shown(&path, &["--to", "+2900ms"]), [json(&second)]);
    assert_eq!(shown(&path, &["--to", "+2s"]), [json(&second)]);
    let [mut second_after, mut third_after] = [second, third];
    third_after.compare(&second_after);
    assert_eq!(shown(&path, &["--from", "+2s"]), [json(&second_after), json(&third_after)]);
    second_after.compare(&first);
    assert_eq!(shown(&path, &["--from", "+1ms", "--to", "+2s"]), [json(&first), json(&second_after)]);
    let text = report(&path, &["--show", "states", "--from", "+1s", "--to", "+2s", "--time", "relative"]);
    assert!(text.stdout.starts_with("1.000000 14 TCP sockets in 2 network namespaces\n"), "{}", text.stdout);
    assert!(text.stdout.contains("\n\n2.000000 24 TCP sockets in 2 network namespaces, +10 since"), "{}", text.stdout);
}

/// Nothing is guessed where nothing was counted.
#[test]
fn where_nothing_was_counted_nothing_is_shown() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    write(&path);
    let refused = |path: &Path, arguments: &[&str], words: &str| {
        let refused = report(path, &[&["--show", "states"], arguments].concat());
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {}", refused.stdout);
        assert!(refused.stdout.is_empty() && refused.stderr.contains(words), "{arguments:?}: {}", refused.stderr);
    };
    refused(&path, &["--to", "+999ms"], "for the first time at 2026-");
    refused(
        &path,
        &["--from", "+1500ms", "--to", "+1600ms"],
        "not counted between `--from` and `--to`, the next time at 2026-",
    );
    refused(&path, &["--from", "+3500ms"], "not counted after `--from`");
    refused(&path, &["--cgroup", "nowhere"], "/system.slice/nginx.service");
    let old = directory.path().join("old.tcps");
    generate::write(&old, 10, 0);
    refused(&old, &[], "has no counts of sockets");
    for (arguments, words) in [
        (&["--by", "process"][..], "add `--show states`"),
        (&["--show", "states", "-o", "svg"], "leave out `--show`"),
        (&["--show", "states", "--from", "+2s", "--to", "+1s"], "`--to` is before `--from`"),
    ] {
        let wrong = report(&path, arguments);
        assert!(wrong.status.code() == Some(2) && wrong.stderr.contains(words), "{arguments:?}: {}", wrong.stderr);
    }
}

/// Seeds of the fuzzer, a byte for the kind and a payload each, are of this format by a program of long ago. `UPDATE_GOLDEN=1` writes
/// them anew: only where nobody has recordings of this format yet.
#[test]
fn the_format_of_counts_stays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/recording");
    let mut written = census(3);
    let payload = |content: Content| (content.kind(), v1::encode(content).expect("memory"));
    let payloads: Vec<_> = Content::of_census(written.clone(), at(1)).map(payload).collect();
    assert_eq!(payloads.len(), 3);
    let mut parts = Vec::new();
    let mut rest = None;
    for ((kind, payload), name) in payloads.into_iter().zip(["kind9-0", "kind9-1", "kind10-0"]) {
        let path = corpus.join(name);
        let seed = [&[kind as u8][..], &payload].concat();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &seed).expect("disk");
        }
        let kept = std::fs::read(&path).expect("kept with the sources");
        assert_eq!(kept, seed, "{name}");
        let kind = FrameKind::from_number(kept[0].into()).expect("a kind");
        match v1::decode(kind, &kept[1..]).expect("a payload") {
            Content::CensusPart(part) => parts.push(part),
            Content::Census(census) => rest = Some(*census),
            other => panic!("{other:?}"),
        }
    }
    let rest = rest.expect("the last");
    written.namespaces[0].own = false;
    written.cgroups.clear();
    written.namespaces.iter_mut().for_each(|namespace| namespace.sockets.sort_by_key(|socket| socket.inode));
    assert_eq!((rest.now, rest.with(parts, None).expect("whole")), (at(1), written));
}

/// The parts of a census that was cut off are not shown as one.
#[test]
fn half_a_census_is_none() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    let mut recording = Recording::create(&path);
    recording.write(Content::Start(Box::new(generate::start())));
    recording.write_census(census(10), at(1));
    recording.write(Content::of_census(census(20), at(2)).next().expect("a part"));
    let shown = report(&path, &["--show", "states", "-o", "json"]);
    assert!(shown.status.success() && shown.stderr.contains("was not ended"), "{}", shown.stderr);
    let counts = live(10, at(1), &SocketFilter::default(), None, None);
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout).ok(), Some(json(&counts)));
}

/// The counts of a whole recording, without its lines.
#[test]
fn the_summary_is_that_of_trace() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    generate::write(&path, 4_000, 0);
    let (trace, summary) = (report(&path, &["--show", "trace"]), report(&path, &["--show", "summary"]));
    assert!(summary.status.success() && summary.stderr.is_empty(), "{}", summary.stderr);
    assert_eq!(summary.stdout, trace.stderr);
    let arguments = ["-o", "json", "--pid", "4001", "--state", "close-wait"];
    let [trace, summary] =
        ["trace", "summary"].map(|show| report(&path, &[&["--show", show], &arguments[..]].concat()));
    assert_eq!(summary.stdout.lines().last(), trace.stdout.lines().last());
    assert_eq!(summary.stdout.lines().count(), 1);
}
