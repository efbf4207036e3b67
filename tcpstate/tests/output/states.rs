//! `tcpstate states`: text and JSON of one host that shows everything.

use std::{collections::BTreeMap, num::NonZeroU64};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};
use tcpstate::report::{
    clock::{TimeFormat, TimeStyle},
    states_json::StatesJson,
    states_text::StatesText,
};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::states::{By, SocketCounts, SocketFilter, count},
    model::{
        Age, Family, MonotonicNs, State,
        census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
    },
};

use crate::{
    golden::assert_golden,
    sample::{CLOCK, START, comm, endpoint},
};

const SCHEMA: &str = include_str!("../../schema/states-v1.schema.json");
const SECOND: u64 = 1_000_000_000;
const ALL_BY: [(&str, By); 5] = [
    ("process", By::Process),
    ("netns", By::Netns),
    ("cgroup", By::Cgroup),
    ("lport", By::Lport),
    ("remote", By::Remote),
];

fn socket(state: TcpState, inode: u32, local: (&str, u16), remote: (&str, u16)) -> ListedSocket {
    ListedSocket {
        cookie: 0,
        family: if local.0.contains(':') { Family::Inet6 } else { Family::Inet },
        state: State::Known(state),
        local: endpoint(local.0, local.1),
        remote: endpoint(remote.0, remote.1),
        inode,
        cgroup: None,
        receive_queue: 0,
        send_queue: 0,
        age: None,
    }
}

fn aged(at_least_ns: u64, at_most_ns: Option<u64>, socket: ListedSocket) -> ListedSocket {
    ListedSocket { age: Some(Age { at_least_ns, at_most_ns }), ..socket }
}

/// A gateway that leaks towards its upstream, and a server in another namespace whose backlog is full.
fn census(leaked: u32) -> Census {
    use TcpState::*;
    let upstream = ("192.0.2.9", 9090);
    let mut own = vec![
        ListedSocket { send_queue: 128, receive_queue: 3, ..socket(Listen, 1, ("0.0.0.0", 80), ("0.0.0.0", 0)) },
        ListedSocket {
            cgroup: NonZeroU64::new(7),
            ..socket(Established, 2, ("192.0.2.1", 80), ("198.51.100.7", 50_001))
        },
        socket(SynRecv, 0, ("192.0.2.1", 80), ("198.51.100.8", 50_002)),
        // Inherited by a worker, too.
        ListedSocket {
            cgroup: NonZeroU64::new(9),
            ..socket(Established, 4, ("192.0.2.1", 80), ("198.51.100.9", 50_003))
        },
        aged(30 * SECOND, None, socket(FinWait2, 5, ("192.0.2.1", 40_990), ("192.0.2.10", 443))),
        socket(FinWait2, 0, ("192.0.2.1", 40_991), ("192.0.2.10", 443)),
        socket(Established, 77, ("192.0.2.1", 40_992), ("192.0.2.10", 443)),
    ];
    own.extend((0..leaked).map(|n| {
        let port = 40_000 + u16::try_from(n).expect("few");
        let age = u64::from(n) * SECOND;
        aged(age, Some(age + SECOND / 100), socket(CloseWait, 1000 + n, ("192.0.2.1", port), upstream))
    }));
    own.extend((0..3_u16).map(|n| {
        let age = u64::from(n) * 10 * SECOND;
        aged(age, None, socket(TimeWait, 0, ("192.0.2.1", 40_500 + n), upstream))
    }));
    let blue = vec![
        ListedSocket { send_queue: 4, receive_queue: 5, ..socket(Listen, 300, ("::", 8080), ("::", 0)) },
        ListedSocket { send_queue: 10, receive_queue: 9, ..socket(Listen, 301, ("::1", 8081), ("::", 0)) },
        ListedSocket { state: State::Unknown(14), ..socket(Close, 0, ("fd00::1", 8080), ("fd00::2", 50_000)) },
    ];
    let process =
        |pid, name: &[u8], descriptors, limit| FoundProcess { pid, comm: Some(comm(name)), descriptors, limit };
    let mut holders = vec![(1, 0), (1, 1), (2, 1), (4, 0), (4, 1), (5, 0), (300, 2), (301, 2)];
    holders.extend((0..leaked).map(|n| (1000 + n, 0)));
    holders.sort_unstable();
    Census {
        namespaces: vec![
            FoundNamespace {
                inode: 4_026_531_840,
                own: true,
                sockets: own,
                listen_overflows: Some(0),
                listen_drops: Some(0),
                ports: Some(EphemeralPorts { low: 40_000, high: 40_999, reserved: vec![(40_600, 40_999 - 10)] }),
                ..FoundNamespace::default()
            },
            FoundNamespace {
                inode: 4_026_532_001,
                names: vec![b"blue\x1b".to_vec()],
                sockets: blue,
                listen_overflows: Some(17 + u64::from(leaked)),
                listen_drops: Some(19 + u64::from(leaked)),
                ..FoundNamespace::default()
            },
        ],
        processes: vec![
            process(812, b"gateway", 60 + u64::from(leaked), Some(1024)),
            process(813, b"worker", 7, None),
            process(900, b"\x1b[31mevil", 19, Some(20)),
            process(950, b"idle", 5, Some(1024)),
        ],
        holders,
        cgroups: BTreeMap::from([(7, b"/system.slice/gateway.service".to_vec())]),
        gaps: Gaps {
            namespaces: vec![("red".to_owned(), "failed to enter it: Operation not permitted (os error 1)".to_owned())],
            processes: 2,
            refused: vec![1, 77],
            why: Some("it takes `CAP_SYS_PTRACE`".to_owned()),
            hidden: None,
        },
    }
}

fn at(seconds: u64) -> MonotonicNs {
    MonotonicNs(START.0 + seconds * SECOND)
}

fn first(by: Option<By>) -> SocketCounts {
    count(&census(330), &SocketFilter::default(), by, at(0))
}

/// What `--watch` shows next: more leaks, and everything in SYN_RECV gone.
fn second(by: Option<By>) -> SocketCounts {
    let mut later = census(345);
    later.namespaces[0].sockets.retain(|socket| socket.state != State::Known(TcpState::SynRecv));
    let mut later = count(&later, &SocketFilter::default(), by, at(2));
    later.compare(&first(by));
    later
}

fn text(counts: &SocketCounts, color: bool, top: usize) -> String {
    let time = TimeFormat { style: TimeStyle::Local, clock: CLOCK, start: START, zone: TimeZone::UTC };
    let mut out = Vec::new();
    StatesText { time, color, width: Some(100), top }.report(&mut out, counts).expect("a Vec takes it");
    String::from_utf8(out).expect("text is UTF-8")
}

fn json_line(counts: &SocketCounts, top: usize) -> String {
    let mut out = Vec::new();
    StatesJson::new(CLOCK, top).report(&mut out, counts).expect("a Vec takes it");
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn golden() {
    assert_golden("states.txt", &text(&first(None), false, 10));
    assert_golden("states-watch-color.txt", &text(&second(Some(By::Process)), true, 10));
    let groups = ALL_BY.map(|(name, by)| format!("--by {name} --top 3\n{}\n", text(&first(Some(by)), false, 3)));
    assert_golden("states-by.txt", &groups.concat());
    let mut line: Value = serde_json::from_str(&json_line(&second(Some(By::Process)), 10)).expect("JSON");
    line.sort_all_objects();
    assert_golden("states.json", &format!("{line:#}\n"));
}

#[test]
fn nothing_has_no_tables() {
    let census =
        Census { namespaces: vec![FoundNamespace { own: true, ..FoundNamespace::default() }], ..Census::default() };
    let counts = count(&census, &SocketFilter::default(), Some(By::Process), at(0));
    assert_eq!(text(&counts, false, 10), "14:15:00.500 0 TCP sockets in 1 network namespace\n");
}

#[test]
fn no_control_character_of_a_name_is_shown() {
    for (_, by) in ALL_BY {
        assert!(!text(&first(Some(by)), false, 10).contains('\x1b'));
        assert!(!json_line(&first(Some(by)), 10).contains("u001b"));
    }
}

#[test]
fn every_line_is_as_the_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    for (_, by) in ALL_BY {
        for counts in [first(Some(by)), second(Some(by)), first(None)] {
            let line: Value = serde_json::from_str(&json_line(&counts, 2)).expect("JSON");
            let errors: Vec<_> = validator.iter_errors(&line).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{line:#}");
        }
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let line: Value = serde_json::from_str(&json_line(&first(Some(By::Remote)), 1)).expect("JSON");
    for table in ["groups", "listeners", "processes", "destinations"] {
        assert_eq!(line[table].as_array().map(Vec::len), Some(1), "{table}");
        assert!(line[format!("{table}_left_out")].as_u64() > Some(0), "{table}");
    }
    assert_eq!((&line["complete"], &line["gaps"]["processes"]), (&json!(false), &json!(2)));
}

proptest! {
    /// The numbers of both formats are those counted, however many there are.
    #[test]
    fn both_formats_say_the_same(leaked in 0..500_u32) {
        let counts = count(&census(leaked), &SocketFilter::default(), None, at(0));
        let line: Value = serde_json::from_str(&json_line(&counts, 10)).expect("JSON");
        prop_assert_eq!(&line["sockets"], &json!(counts.sockets));
        let text = text(&counts, false, 10);
        for row in &counts.states {
            let shown = text.lines().find(|line| line.starts_with(&format!("{} ", row.state))).expect("a row");
            let count = shown.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok());
            prop_assert_eq!(count, Some(row.sockets));
        }
    }
}
