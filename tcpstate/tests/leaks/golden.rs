//! Whole reports, as people and programs see them.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tcpstate::report::{
    clock::{TimeFormat, TimeStyle, WallClock},
    folded::{self, Weight},
    leaks::{LeakReport, Outlook, Surroundings},
    leaks_json::LeaksJson,
    leaks_text::LeaksText,
    svg,
};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::{leaks::LeakOptions, stack_book::StackBook},
    model::{
        MonotonicNs, Owner, OwnerSource, ProcessId, State,
        activity::{Activity, Busiest, WokenBy},
        leak::{FoundListener, Holder, LeakLosses, PlaceId},
        probes::Role,
        stack::{Sleepers, Stack},
    },
};

use super::{
    scene::{Opener, Scene, accepts, connects, name},
    stacks::stack,
};

const CLOCK: WallClock = WallClock { offset_ns: 1_790_000_000_000_000_000 };

/// Every verdict, and everything that can be missing.
fn everything() -> LeakReport {
    let mut scene = Scene::new();
    names(&mut scene);
    scene.snapshot();

    let half_closed = scene.fin(accepts(500, "server", 8443, 20));
    let blocked: Vec<_> = (0..2).map(|_| scene.fin(accepts(600, "pusher", 9090, 30))).collect();
    for &socket in &blocked {
        scene.read_eof(socket, 600, 601, "conn", 31);
        scene.load(socket).send_q = 2_565_000;
        scene.load(socket).last_data_sent_ms = 0;
    }
    let inherited = scene.fin(accepts(4700, "python3", 8000, 40));
    scene.found(inherited).holders = vec![Holder { pid: 4711, fd: 5 }];
    scene.process(4711, "sleep");
    let drained = scene.fin(accepts(700, "jobs", 7000, 50));
    scene.load(drained).recv_q = 0;
    scene.fin_before(accepts(700, "jobs", 7000, 50));
    let ghost = scene.fin(connects(800, "crawler\x1b[31m", 443, 60));
    scene.fin(connects(900, "pool", 5432, 70));
    let waiting = scene.fin(Opener { pid: 950, comm: "stuck", source: OwnerSource::Listen, port: 6000, place: None });
    let found = scene.found(waiting).clone();
    for worker in [951, 952] {
        scene.process(worker, "worker");
    }
    scene.listeners.push(FoundListener {
        facts: found.facts,
        owner: found.owner,
        holders: vec![950, 951, 952],
        backlog: 1,
        backlog_limit: 128,
        dropped: 7,
    });
    let awaited = scene.fin(accepts(960, "slow", 7070, 50));
    scene.load(awaited).recv_q = 0;
    scene.found(awaited).awaited_by = Some(961);
    scene.process(961, "nc");
    let slow = scene.fin(accepts(500, "server", 8443, 20));
    scene.fin_before(accepts(812, "proxy", 8080, 1));
    for tick in 0..10_u64 {
        if tick % 2 == 0 {
            scene.fin(accepts(812, "proxy", 8080, if tick < 4 { 1 } else { 2 }));
        }
        if tick == 3 {
            scene.reset(ghost);
        }
        if tick == 4 {
            scene.close(slow, 21);
        }
        scene.process(812, "proxy").descriptors = 900 + 6 * tick;
        scene.load(half_closed).last_data_sent_ms = 3;
        scene.watch(1);
    }
    scene.asleep_in_send = Some(BTreeMap::from([(600, 2)]));
    let survey = scene.survey();
    let sleepers = BTreeMap::from([
        (
            process(812),
            vec![
                asleep(812, 6, "futex", &["__futex_wait@libc.so.6", "take_job pool.c:41", "worker_main pool.c:77"]),
                not_looked_at(812, 29_744, "futex"),
            ],
        ),
        (
            process(600),
            vec![asleep(600, 2, "sendto", &["__libc_send@libc.so.6", "push_all push.c:19", "conn_main push.c:52"])],
        ),
        (process(950), vec![asleep(950, 1, "wait4", &["__wait4@libc.so.6", "main master.c:40"])]),
        (process(951), vec![asleep(951, 1, "futex", &["__lll_lock_wait@libc.so.6", "serve worker.c:12"])]),
        (process(952), vec![asleep(952, 1, "futex", &["__lll_lock_wait@libc.so.6", "serve worker.c:12"])]),
    ]);
    let spinning = Activity {
        running: 2,
        stopped: 1,
        busiest: Some(Busiest { tid: 813, comm: name("loop"), permille: 987, window_ns: 2_000_000_000 }),
        woken_by: Some(WokenBy { epoll: 4, sockets: 5 }),
        ..Activity::default()
    };
    let activities = BTreeMap::from([(process(812), spinning)]);
    let losses = LeakLosses { events: 512, map_full: 3, stacks_skipped: 14, stacks_dropped: 1 };
    LeakReport::new(
        survey,
        &scene.stacks,
        Surroundings {
            sleepers,
            activities,
            losses,
            unrepaired: false,
            unseen: vec![Role::UserStacks.lost()],
            top: 8,
            ..Surroundings::default()
        },
    )
}

pub(crate) fn names(scene: &mut Scene) {
    let proxy = [
        "accept4@libc.so.6",
        "proxy_accept proxy.c:88",
        "inlined on_ready loop.h:12",
        "event_loop proxy.c:140",
        "main proxy.c:171",
        "__libc_start_call_main@libc.so.6",
        "__libc_start_main@libc.so.6",
        "_start",
    ];
    let stacks: [(u64, &[&str]); 10] = [
        (1, &proxy),
        (2, &proxy),
        (20, &["accept4@libc.so.6", "legit_accept legit.c:10", "main legit.c:30"]),
        (21, &["close@libc.so.6", "finish legit.c:77"]),
        (30, &["accept4@libc.so.6", "take_conn push.c:80", "main push.c:99"]),
        (31, &["recv@libc.so.6", "read_request push.c:33", "conn_main push.c:50"]),
        (40, &["accept4@libc.so.6", "_PyEval_EvalFrameDefault"]),
        (
            50,
            &[
                "accept4@libc.so.6",
                "runtime sock_accept@python3.12",
                "runtime _PyEval_EvalFrameDefault@python3.12",
                "accept_job",
                "runtime _PyEval_EvalFrameDefault@python3.12",
                "main",
            ],
        ),
        (60, &["connect@libc.so.6", "fetch;all crawl.c:5"]),
        (70, &["connect@libc.so.6", "db::connect src/db.rs:14"]),
    ];
    for (place, frames) in stacks {
        let mut stack = stack(frames);
        if place == 31 {
            stack.kernel = ["sock_recvmsg", "__sys_recvfrom", "do_syscall_64"].map(str::to_owned).to_vec();
        }
        if place == 60 {
            stack.kernel = vec!["__sys_connect".to_owned(), "0xffffffff81000010".to_owned()];
        }
        if place == 40 || place == 60 {
            stack.hint = Some("start Python 3.12 or later with `-X perf` to see its functions".to_owned());
        }
        if place == 60 {
            stack.truncated = Some("the copy of the stack ended after 16 KiB".to_owned());
        }
        scene.stacks.insert(PlaceId(place), stack);
    }
}

fn process(pid: u32) -> ProcessId {
    ProcessId { pid, start: None }
}

fn asleep(pid: u32, threads: u64, syscall: &str, frames: &[&str]) -> Sleepers {
    Sleepers {
        pid,
        threads,
        tid: 4242,
        comm: name("worker"),
        syscall: Some(syscall.to_owned()),
        stack: Arc::new(stack(frames)),
    }
}

fn not_looked_at(pid: u32, threads: u64, syscall: &str) -> Sleepers {
    let stack = Arc::new(Stack::unread("not read: there are too many".to_owned()));
    Sleepers { stack, ..asleep(pid, threads, syscall, &[]) }
}

fn text(report: &LeakReport, width: Option<usize>, color: bool) -> String {
    let time = TimeFormat { style: TimeStyle::Local, clock: CLOCK, start: MonotonicNs(0), zone: TimeZone::UTC };
    let mut out = Vec::new();
    LeaksText { time, color, width }.report(&mut out, report).expect("memory does not fail");
    String::from_utf8(out).expect("text is UTF-8")
}

fn json(report: &LeakReport) -> String {
    let mut out = Vec::new();
    LeaksJson::new(CLOCK).report(&mut out, report).expect("memory does not fail");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn folded(report: &LeakReport, weight: Weight) -> String {
    let mut out = Vec::new();
    folded::write(&mut out, report, weight).expect("memory does not fail");
    String::from_utf8(out).expect("text is UTF-8")
}

/// Compares with `tests/leaks/golden/NAME`, or writes it when `UPDATE_GOLDEN` is set.
pub(crate) fn assert_golden(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a writable source tree");
        fs::write(&path, actual).expect("a writable source tree");
    }
    let expected = fs::read_to_string(&path).expect("the golden file");
    assert!(actual == expected, "`{}` differs:\n{actual}", path.display());
}

#[test]
fn text_without_a_terminal() {
    assert_golden("everything.txt", &text(&everything(), None, false));
}

#[test]
fn text_on_a_narrow_terminal_in_colour() {
    let text = text(&everything(), Some(80), true);
    assert_golden("everything-80.ansi", &text);
    let plain = without_colors(&text);
    let too_long: Vec<_> =
        plain.lines().filter(|line| line.chars().count() > 80 && line.trim().contains(' ')).collect();
    assert!(too_long.iter().all(|line| line.split_whitespace().any(|word| word.len() > 40)), "{too_long:#?}");
}

/// Without the escape sequences that colours are.
pub(crate) fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\x1b');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[test]
fn json_of_everything() {
    let line = json(&everything());
    assert_eq!(line.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_golden("everything.json", &format!("{value:#}\n"));
    check_schema(&value);
}

#[test]
fn json_of_nothing() {
    let mut scene = Scene::new();
    let survey = scene.survey();
    let report = LeakReport::new(survey, &scene.stacks, Surroundings { top: 10, ..Surroundings::default() });
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
    check_schema(&value);
    assert_eq!(value["complete"], true);
    assert_eq!(
        text(&report, None, false),
        "14:30:00.000 0 sockets in CLOSE_WAIT in 0 processes, 0 ghost descriptors\n"
    );
    assert_eq!(folded(&report, Weight::Seconds), "");
}

fn check_schema(value: &serde_json::Value) {
    let schema = serde_json::from_str(include_str!("../../schema/leaks-v1.schema.json")).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn threads_at_places_that_are_left_out_are_not_counted_as_none() {
    let places = |places: u64| {
        let at = |place| asleep(812, 1, "futex", &[&format!("wait_{place}@libc.so.6")]);
        let sleepers = BTreeMap::from([(process(812), (0..places).map(at).collect())]);
        let surroundings = Surroundings { sleepers, top: 8, ..Surroundings::default() };
        let report = LeakReport::new(everything().survey, &StackBook::default(), surroundings);
        (report.other_sleepers, text(&report, None, false))
    };
    let (others, text) = places(32);
    assert!(others == 0 && text.contains("; 32 threads of pid 812 asleep in `futex`"), "{text}");
    let (others, text) = places(40);
    assert!(others == 8 && text.contains("; at least 32 threads of pid 812 asleep in `futex`"), "{text}");
}

#[test]
fn folded_stacks() {
    let report = everything();
    assert_golden("everything-seconds.folded", &folded(&report, Weight::Seconds));
    assert_golden("everything-sockets.folded", &folded(&report, Weight::Sockets));
    let sockets: u64 = folded::lines(&report, Weight::Sockets)
        .iter()
        .map(|line| line.rsplit_once(' ').expect("a weight").1.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(sockets, report.survey.groups.iter().map(|group| group.sockets).sum::<u64>());
}

#[test]
fn a_flamegraph_names_the_functions() {
    let mut out = Vec::new();
    svg::write(&mut out, &everything(), Weight::Sockets).expect("memory does not fail");
    let svg = String::from_utf8(out).expect("SVG is UTF-8");
    for part in ["<svg", "proxy_accept", "eof-unread", "by sockets", "incomplete: 512 events lost", "</svg>"] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains('\x1b'));
}

#[test]
fn what_nobody_holds_cannot_be_read() {
    let mut scene = Scene::new();
    names(&mut scene);
    let socket = scene.fin(accepts(500, "server", 8443, 20));
    let advised = |scene: &mut Scene| {
        let survey = scene.watch(2);
        let report = LeakReport::new(survey, &scene.stacks, Surroundings { top: 10, ..Surroundings::default() });
        text(&report, None, false).contains("SCM_RIGHTS")
    };
    assert!(!advised(&mut scene), "its opener holds it");
    scene.found(socket).holders.clear();
    assert!(advised(&mut scene), "in flight over a UNIX socket");
}

/// What people read two seconds later.
fn said(scene: &mut Scene) -> String {
    let survey = scene.watch(2);
    let surroundings = Surroundings { top: 10, ..Surroundings::default() };
    text(&LeakReport::new(survey, &scene.stacks, surroundings), None, false)
}

/// Only one of the threads is kept.
#[test]
fn one_of_many_threads_stands_for_them() {
    for (sockets, said_of) in
        [(1, "told        thread worker[100], of"), (3, "told        such as thread worker[100], of")]
    {
        let mut scene = Scene::new();
        names(&mut scene);
        for n in 0..sockets {
            let socket = scene.fin(accepts(500, "server", 8443, 20));
            scene.read_eof(socket, 500, 100 + n, "worker", 31);
        }
        let text = said(&mut scene);
        assert!(text.contains(said_of), "{text}");
    }
}

#[test]
fn an_accept_that_no_hook_saw() {
    let options =
        LeakOptions { older_than: Duration::from_secs(1), accept_hook: false, receive_hook: true, descriptors: true };
    let mut scene = Scene::with(options);
    let socket = scene.fin(Opener { pid: 12, comm: "ring", source: OwnerSource::Listen, port: 80, place: None });
    scene.found(socket).unaccepted = false;
    scene.found(socket).holders = vec![Holder { pid: 12, fd: 4 }];
    let survey = scene.watch(2);
    let unseen = |unseen| {
        let surroundings = Surroundings { top: 10, unseen, ..Surroundings::default() };
        LeakReport::new(survey.clone(), &scene.stacks, surroundings)
    };
    let report = unseen(Vec::new());
    let text_of = |report: &LeakReport| text(report, None, false);
    assert!(
        text_of(&report).contains("on port 80: by an accept() that was not seen (io_uring"),
        "{}",
        text_of(&report)
    );
    let without = text_of(&unseen(vec![Role::Accept.lost()]));
    assert!(without.contains("on port 80: by an accept() that was not seen (this kernel"), "{without}");
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
    check_schema(&value);
    let opened = &value["groups"][0]["opened"];
    assert_eq!((&opened["how"], &opened["known"]), (&"accept".into(), &"before-trace".into()));
    assert!(folded(&report, Weight::Sockets).contains("[accept not seen: local port 80]"));
}

#[test]
fn what_was_not_seen_is_not_promised_and_not_denied() {
    let report = |outlook| {
        let mut scene = Scene::new();
        scene.fin_before(accepts(5, "srv", 80, 1));
        let survey = scene.watch(1);
        LeakReport::new(survey, &scene.stacks, Surroundings { top: 10, outlook, ..Surroundings::default() })
    };
    for (outlook, ghosts, where_opened, known) in [
        (Outlook::GoesOn, "process, 0 ghost descriptors", "the next leak of its kind will show where", true),
        (Outlook::Ended, "process, 0 ghost descriptors", "no later leak of its kind has shown where", true),
        (Outlook::InPassing, "process, ghost descriptors not known", "a hunt that goes on sees where", false),
    ] {
        let report = report(outlook);
        let said = text(&report, None, false);
        assert!(said.contains(ghosts) && said.contains(where_opened), "{said}");
        assert_eq!(said.contains("with --once: "), !known, "{said}");
        let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
        check_schema(&value);
        assert_eq!(value["totals"]["ghosts_known"], known);
    }
}

#[test]
fn opened_by_whom_the_filters_leave_out() {
    let mut scene = Scene::new();
    scene.leaks = scene.leaks.filtered_by_process(true);
    let socket = scene.fin_before(accepts(12, "worker", 80, 1));
    let report = |scene: &mut Scene| {
        let survey = scene.watch(1);
        LeakReport::new(survey, &scene.stacks, Surroundings { top: 10, ..Surroundings::default() })
    };
    let of_nobody_known = report(&mut scene);
    let said = text(&of_nobody_known, None, false);
    let words = "before the trace, or by a process that the filters leave out: without `--pid` and `--comm`";
    assert!(said.contains(words), "{said}");
    let found = scene.found(socket).clone();
    scene.listeners.push(FoundListener {
        facts: found.facts,
        owner: found.owner.map(|owner| Owner { pid: 6, comm: name("primary"), ..owner }),
        holders: Vec::new(),
        backlog: 0,
        backlog_limit: 128,
        dropped: 0,
    });
    let report = report(&mut scene);
    let said = text(&report, None, false);
    assert!(said.contains("primary[6] listens there, and `--pid 6` shows what it accepts"), "{said}");
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
    check_schema(&value);
    let opened = &value["groups"][0]["opened"];
    assert_eq!((&opened["by"], &opened["known"]), (&serde_json::Value::Null, &"before-trace".into()));
    assert_eq!(opened["left_out"]["listener"], serde_json::json!({ "pid": 6, "comm": "primary" }));
    assert!(folded(&report, Weight::Sockets).contains("[before the trace or left out: local port 80]"));
}

#[test]
fn recursion_is_shown_once() {
    let mut scene = Scene::new();
    let descend = "descend tree.c:9";
    let frames =
        ["accept4@libc.so.6", "take tree.c:3", descend, descend, descend, "grow tree.c:4", descend, "main tree.c:30"];
    scene.stacks.insert(PlaceId(1), stack(&frames));
    scene.snapshot();
    scene.fin(accepts(500, "server", 8443, 1));
    let text = said(&mut scene);
    let stack: Vec<_> =
        text.lines().map(str::trim).skip_while(|line| !line.contains("take  tree.c:3")).take(5).collect();
    let shown = ["descend  tree.c:9  ×3", "grow  tree.c:4", "descend  tree.c:9", "main  tree.c:30"];
    assert_eq!(stack[1..], shown, "{text}");
}

/// Those that the user's functions call and are called by.
#[test]
fn of_many_functions_of_a_library_the_ends_are_named() {
    for (count, shown) in [(4, "run1, run2, run3, run4 (librt.so)"), (5, "run1, 3 more, run5 (librt.so)")] {
        let mut scene = Scene::new();
        let runs: Vec<_> = (1..=count).map(|n| format!("run{n}@librt.so")).collect();
        let frames = ["accept4@libc.so.6", "take tree.c:3"].into_iter().chain(runs.iter().map(String::as_str));
        let frames: Vec<_> = frames.chain(["start@libc.so.6", "main tree.c:30"]).collect();
        scene.stacks.insert(PlaceId(1), stack(&frames));
        scene.snapshot();
        scene.fin(accepts(500, "server", 8443, 1));
        let text = said(&mut scene);
        let between = text.lines().map(str::trim).skip_while(|line| !line.contains("take  tree.c:3")).nth(1);
        assert_eq!(between, Some(format!("{shown}, start (libc.so.6)").as_str()), "{text}");
    }
}

#[test]
fn a_descriptor_shut_down_says_where() {
    let mut scene = Scene::new();
    names(&mut scene);
    scene.snapshot();
    let socket = scene.fin(accepts(500, "server", 8443, 20));
    scene.wait_ms(3_000);
    scene.shut_down(socket, 21);
    let text = said(&mut scene);
    assert!(text.contains("left CLOSE_WAIT by shutdown()"), "{text}");
    assert!(text.contains("finish  legit.c:77"), "{text}");
    assert_eq!(State::Known(TcpState::LastAck), scene.found(socket).state);
}
