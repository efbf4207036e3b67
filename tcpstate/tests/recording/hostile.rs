//! A recording in which every text was chosen by somebody who wants more than to be read.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    num::NonZeroU64,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tcpstate_common::state::TcpState;
use tcpstate_core::model::{
    Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Transition,
    activity::{Activity, Busiest, WokenBy},
    census::{Census, FoundNamespace, FoundProcess, Gaps, ListedSocket},
    event::Event,
    leak::{
        Actor, FoundHolder, FoundListener, FoundSocket, Holder, LeakEvent, PlaceId, Snapshot, SocketFacts, SocketLoad,
    },
    probes::Refusal,
    stack::{Frame, Sleepers, Source, Stack},
};
use tcpstate_recording::{Content, Names, RecordingEnd, Start};
use tempfile::tempdir;

use crate::{
    generate::{self, START, checkpoint},
    made::Made,
};

/// A colour, a bell, the end of a line and what looks like another, a carriage return, text that runs the other way, a line separator, a
/// C1 control, what ends strings and elements, and bytes that are no text.
const TEXT: &str = "\x1b[31m\x07\nINJECTED\r\t\u{202e}\u{2028}\u{200b}\u{9b}2J\x7f\"'`<b>&;\\";
const COMM: &[u8; 16] = b"\x1b[2J\nINJECTED\xff\0\0";
const PID: u32 = 4000;
const SECOND: u64 = 1_000_000_000;

fn text() -> String {
    TEXT.to_owned()
}

/// A path or a name of no encoding.
fn bytes() -> Vec<u8> {
    [TEXT.as_bytes(), b"\xff\xfe"].concat()
}

fn start() -> Start {
    let mut start = generate::start();
    let hooks = &mut start.probes.hooks;
    (hooks.kernel, hooks.lockdown) = (text(), Some(text()));
    for attempt in hooks.roles.iter_mut().flat_map(|role| &mut role.attempts) {
        attempt.hook = text();
    }
    // One that is refused, so that its reason is said.
    hooks.roles[3].attempts[0].refused = Some(Refusal { errno: None, reason: text() });
    Start {
        tcpstate: text(),
        host: text(),
        boot_id: text(),
        zone: Some(text()),
        filters: vec![format!("--comm {TEXT}"), text()],
        file: 1,
        ..start
    }
}

fn stack(function: &str) -> Stack {
    let path = PathBuf::from(OsString::from_vec(bytes()));
    let frame = |function: Option<String>, module: Option<&Path>| Frame {
        function,
        source: Some(Source { file: path.clone(), line: Some(7) }),
        module: module.map(Into::into),
        offset: 1,
        inlined: false,
        runtime: false,
    };
    let library = Path::new("/usr/lib").join(&path);
    Stack {
        frames: vec![
            frame(Some(format!("{function}{TEXT}")), Some(&library)),
            Frame { source: None, ..frame(Some(text()), Some(&library)) },
            frame(Some(text()), Some(&path)),
            Frame { source: None, ..frame(None, Some(&path)) },
            Frame { source: None, ..frame(None, None) },
        ],
        kernel: vec![text()],
        truncated: Some(text()),
        hint: Some(text()),
        process: None,
    }
}

fn transition(number: u64) -> Transition {
    let end = |port| Endpoint { addr: [10, 0, 0, 1].into(), port };
    Transition {
        at: MonotonicNs(START.0 + number),
        socket: SocketId { cookie: NonZeroU64::new(number), skaddr: 0x1000 * number },
        id: NonZeroU64::new(number),
        old: State::Known(TcpState::Established),
        new: State::Known(TcpState::CloseWait),
        in_old: Dwell::Unknown,
        owner: Some(Owner { pid: PID, tid: PID, comm: Comm(*COMM), source: OwnerSource::Accept, start: None }),
        family: Family::Inet,
        protocol: Protocol::Tcp,
        local: end(443),
        remote: end(50_000),
        netns: 1,
        cgroup: NonZeroU64::new(5051),
        uid: 33,
    }
}

fn snapshot(now: MonotonicNs) -> Snapshot {
    let facts = SocketFacts::from(&transition(9));
    Snapshot {
        taken: now,
        complete: now,
        sockets: Vec::new(),
        listeners: vec![FoundListener {
            facts: SocketFacts { id: SocketId { cookie: None, skaddr: 5 }, ..facts },
            owner: transition(9).owner,
            holders: Vec::new(),
            backlog: 3,
            backlog_limit: 3,
            dropped: 9,
        }],
        processes: vec![FoundHolder { pid: PID, comm: Comm(*COMM), descriptors: 90, descriptor_limit: Some(100) }],
        starts: BTreeMap::new(),
    }
}

fn census() -> Census {
    let transition = transition(1);
    let listed = ListedSocket {
        cookie: 0,
        family: Family::Inet,
        state: State::Known(TcpState::CloseWait),
        local: transition.local,
        remote: transition.remote,
        inode: 7,
        cgroup: NonZeroU64::new(5051),
        receive_queue: 1,
        send_queue: 1,
        age: None,
    };
    let listener = ListedSocket { state: State::Known(TcpState::Listen), inode: 8, ..listed };
    Census {
        namespaces: vec![FoundNamespace {
            inode: 1,
            names: vec![bytes()],
            sockets: vec![listed, listener],
            listen_drops: Some(8),
            ..FoundNamespace::default()
        }],
        processes: vec![FoundProcess { pid: PID, comm: Some(Comm(*COMM)), descriptors: 99, limit: Some(100) }],
        holders: vec![(7, 0), (8, 0)],
        gaps: Gaps {
            namespaces: vec![(text(), text())],
            processes: 1,
            refused: vec![1],
            why: Some(text()),
            hidden: Some(text()),
        },
        ..Census::default()
    }
}

/// Everything that a recording may say, in such words.
pub(crate) fn recording() -> Vec<u8> {
    let now = MonotonicNs(START.0 + 10 * SECOND);
    let by = Actor { pid: PID, tid: PID, comm: Comm(*COMM), start: None };
    let told = |number| LeakEvent::EofRead { at: now, socket: transition(number).socket, by, place: Some(PlaceId(2)) };
    let events = (1..4).flat_map(|number| {
        let entered = Event::Entered { transition: transition(number), opened: Some(PlaceId(1)) };
        [entered, Event::Beside(told(number))]
    });
    let load = SocketLoad {
        recv_q: 0,
        send_q: 0,
        last_data_recv_ms: 1,
        last_ack_recv_ms: 1,
        last_data_sent_ms: 1,
        traffic: None,
    };
    let found = |number| FoundSocket {
        facts: SocketFacts::from(&transition(number)),
        state: State::Known(TcpState::CloseWait),
        owner: transition(number).owner,
        opened: Some(PlaceId(1)),
        since: Some(transition(number).at),
        eof_read: true,
        unaccepted: false,
        load: Some(load),
        holders: vec![Holder { pid: PID, fd: 7 }],
        awaited_by: None,
    };
    let unaccepted = FoundSocket { unaccepted: true, holders: Vec::new(), eof_read: false, ..found(4) };
    let asleep = Sleepers {
        threads: 2,
        tid: PID,
        pid: PID,
        comm: Comm(*COMM),
        syscall: Some(text()),
        stack: Arc::new(stack("asleep")),
    };
    let busiest = Busiest { tid: PID, comm: Comm(*COMM), permille: 900, window_ns: SECOND };
    let woken_by = Some(WokenBy { epoll: 5, sockets: 3 });
    let activity = Activity { running: 1, stopped: 1, traced: 1, frozen: 1, busiest: Some(busiest), woken_by };

    let mut made = Made::new(start());
    made.push_content(Content::Names(Names {
        cgroups: vec![(5051, bytes())],
        netns: vec![(1, bytes())],
        parents: vec![(PID, 1)],
    }));
    made.push_content(Content::Events(events.collect()));
    made.push_content(Content::Sockets((1..4).map(found).chain([unaccepted]).collect()));
    let stacks = [(1, "opened"), (2, "told")].map(|(place, function)| (PlaceId(place), Arc::new(stack(function))));
    made.push_content(Content::Stacks(stacks.into()));
    made.push_content(Content::Activities([(PID, activity)].into()));
    let mut checkpoint = checkpoint(now, Some(snapshot(now)));
    checkpoint.sleepers = [(PID, vec![asleep])].into();
    made.push_content(Content::Checkpoint(Box::new(checkpoint)));
    Content::of_census(census(), now).for_each(|content| made.push_content(content));
    made.push_content(Content::End(RecordingEnd { at: now, rotated: false }));
    made.bytes().to_vec()
}

/// Whether a terminal shows it as it is: what Unicode calls a control or a format is not.
fn is_shown(c: char) -> bool {
    c == '\n'
        || !(c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'))
}

/// What of this text is not to be in it.
fn wrong(what: &str, text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).expect(what);
    // A line that is the recording's own, or has in it what is no text.
    let is_wrong = |line: &&str| line.starts_with("INJECTED") || !line.chars().all(is_shown);
    text.lines().filter(is_wrong).map(|line| format!("{what}: {line:?}")).collect()
}

#[test]
fn nothing_but_text_comes_out() {
    let directory = tempdir().expect("a directory");
    // The name of a file is given, but by `*`.
    let path = directory.path().join(OsString::from_vec(b"\x1b[31m\nINJECTED\xe2\x80\xae\xff.tcps".to_vec()));
    fs::write(&path, recording()).expect("disk");
    let damaged = directory.path().join(OsString::from_vec(b"\x1b[31m\nINJECTED damaged".to_vec()));
    fs::write(&damaged, &recording()[..600]).expect("disk");
    let foreign = directory.path().join(OsString::from_vec(b"\x1b[31m\nINJECTED foreign".to_vec()));
    fs::write(&foreign, "no recording").expect("disk");
    let missing = directory.path().join(OsString::from_vec(b"\x1b[31m\nINJECTED missing".to_vec()));
    let cgroup = OsString::from_vec(bytes());
    let views: &[&[&str]] = &[
        &[],
        &["--top", "1"],
        &["-o", "json"],
        &["-o", "folded"],
        &["-o", "svg"],
        &["-o", "folded", "--weight", "sockets"],
        &["--show", "trace"],
        &["--show", "trace", "-o", "json"],
        &["--show", "summary"],
        &["--show", "states"],
        &["--show", "states", "--by", "process"],
        &["--show", "states", "--by", "cgroup"],
        &["--show", "states", "--by", "netns"],
        &["--show", "states", "-o", "json"],
        &["--show", "states", "-o", "json", "--by", "cgroup"],
        &["--netns", "none"],
        &["--cgroup", "none"],
        &["--show", "states", "--netns", "none"],
        &["--from", "+1h"],
    ];
    let (mut seen, mut wrongs) = (0, Vec::new());
    for view in views {
        for verbose in [&["-v"][..], &["-vv"]] {
            for path in [&path, &damaged, &foreign, &missing] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
                command
                    .args(verbose)
                    .arg("report")
                    .arg(path)
                    .args(*view)
                    .arg("--older-than=1ms")
                    .env_remove("RUST_LOG");
                let output = command.output().expect("tcpstate runs");
                assert!(output.status.code().is_some_and(|code| code < 2), "{view:?}: {:?}", output.stderr);
                wrongs.extend(wrong(&format!("{view:?}, standard output"), &output.stdout));
                wrongs.extend(wrong(&format!("{view:?}, standard error"), &output.stderr));
                seen += output.stdout.windows(8).filter(|bytes| bytes == b"INJECTED").count();
            }
        }
    }
    assert!(seen > 200, "the names are shown, {seen} of them");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    let output = command.arg("report").arg(&path).arg("--cgroup").arg(&cgroup).output().expect("tcpstate runs");
    wrongs.extend(wrong("its cgroup", &output.stderr));
    wrongs.dedup();
    assert!(wrongs.is_empty(), "{} lines, such as\n{}", wrongs.len(), wrongs[..wrongs.len().min(20)].join("\n"));
}
