//! What `tcpstate run` says of fixed leaks, in all its formats.

use std::{path::PathBuf, time::Duration};

use quick_xml::{Reader, events::Event};
use serde_json::Value;
use tcpstate::report::{
    clock::WallClock,
    leaks::{LeakReport, Surroundings},
    run::{Allowance, CommandEnd, RunReport},
    run_json, run_junit,
    run_text::RunText,
};
use tcpstate_core::{
    aggregate::{
        leaks::{LeakOptions, Observed, Suspect},
        verdict::Verdict,
    },
    model::{
        MonotonicNs,
        leak::{Actor, Closing, LeakEvent, LeakLosses, PlaceId, SocketLoad},
    },
};

use super::{
    golden::{assert_golden, names, without_colors},
    scene::{Opener, SECOND, Scene, Socket, accepts, connects, name},
    stacks::stack,
};

const CLOCK: WallClock = WallClock { offset_ns: 1_790_000_000_000_000_000 };
const BEGAN: u64 = 1_000 * SECOND;
/// Where Python closes what is left at its exit.
const CLEAN_UP: u64 = 22;

fn scene() -> Scene {
    let options = LeakOptions { older_than: Duration::ZERO, accept_hook: true, receive_hook: true, descriptors: true };
    let mut scene = Scene::with(options);
    scene.leaks = scene.leaks.keeping(Some(Duration::from_secs(5)));
    names(&mut scene);
    let clean_up = stack(&["close@libc.so.6", "runtime Py_FinalizeEx@python3.12", "main@python3.12"]);
    scene.stacks.insert(PlaceId(CLEAN_UP), clean_up);
    scene.snapshot();
    scene
}

/// A process closes a socket at this place, or by its exit.
fn closing(scene: &mut Scene, socket: Socket, opener: Opener, place: Option<u64>) {
    let at = MonotonicNs(scene.now);
    let found = scene.found(socket).clone();
    let SocketLoad { recv_q, .. } = found.load.expect("queues");
    scene.leaks.push(&LeakEvent::Closing(Closing {
        at,
        facts: found.facts,
        by: Actor { pid: opener.pid, tid: opener.pid, comm: name(opener.comm), start: None },
        place: place.map(PlaceId),
        exiting: place.is_none(),
        owner: found.owner,
        opened: found.opened,
        in_close_wait: found.since.is_some(),
        since: found.since,
        eof_read: recv_q == 0,
        load: found.load,
    }));
    match place {
        Some(place) => scene.close(socket, place),
        None => scene.gone(socket),
    }
}

/// One leak of each fate, one that a rule lets pass, one group of many processes, and a rule that lets nothing pass.
fn everything() -> RunReport {
    let mut scene = scene();
    let (client, server) = (connects(4001, "python3", 5432, 70), accepts(4002, "server\x1b[2J", 8443, 20));
    let (late, left) = (accepts(4003, "late", 8080, 1), accepts(4004, "daemon", 7000, 50));
    let [at_exit, by_exit, closed_late] = [client, server, late].map(|opener| scene.fin(opener));
    let open: Vec<_> = (0..2).map(|_| scene.fin(left)).collect();
    let pool = scene.fin(connects(4005, "pooled", 6379, 60));
    let children: Vec<_> = (0..3).map(|child| connects(5000 + child, "child", 443, 70)).collect();
    let sockets: Vec<_> = children.iter().map(|&child| scene.fin(child)).collect();
    scene.wait_ms(480);
    scene.read_eof(at_exit, 4001, 4001, "python3", 31);
    scene.read_eof(by_exit, 4002, 4002, "server\x1b[2J", 31);
    for (socket, &child) in sockets.into_iter().zip(&children) {
        closing(&mut scene, socket, child, None);
    }
    scene.wait_ms(1_000);
    closing(&mut scene, at_exit, client, Some(CLEAN_UP));
    closing(&mut scene, by_exit, server, None);
    closing(&mut scene, pool, connects(4005, "pooled", 6379, 60), None);
    scene.wait_ms(6_000);
    closing(&mut scene, closed_late, late, Some(21));
    scene.wait_ms(20);
    assert_eq!(open.len(), 2);
    scene.snapshot();
    // `run` asks the stack of each close.
    assert!(scene.leaks.unsettled().contains(&PlaceId(CLEAN_UP)));
    scene.leaks.settle(|place| place == PlaceId(CLEAN_UP));
    report(scene, CommandEnd::Exited(0))
}

fn report(mut scene: Scene, end: CommandEnd) -> RunReport {
    let rule = |suspect: &Suspect| (suspect.remote.port == 6379).then_some(0);
    let observed =
        Observed { now: MonotonicNs(scene.now), asleep_in_send: None, fold: &|place| scene.stacks.fold(place) };
    let outcome = scene.leaks.outcome(&observed, &rule);
    let used = outcome.allowed();
    let allowances = [(3, "the pool closes these\nwhen it uses them next"), (9, "fixed \x1b[2Jlong ago")];
    let allowances = allowances.into_iter().enumerate().map(|(index, (line, reason))| Allowance {
        line,
        reason: reason.to_owned(),
        sockets: used.get(&index).copied().unwrap_or(0),
    });
    let allowances = allowances.collect();
    let mut survey = scene.leaks.survey(&observed);
    survey.groups.clear();
    survey.groups.extend(outcome.findings.iter().map(|finding| finding.group.clone()));
    let losses = LeakLosses { events: 12, stacks_skipped: 2, ..LeakLosses::default() };
    let surroundings = Surroundings { losses, top: usize::MAX, ..Surroundings::default() };
    RunReport {
        command: ["pytest", "-k", "not <slow> & \"quick\"\x1b"].map(Into::into).to_vec(),
        pid: 4000,
        end,
        began: MonotonicNs(BEGAN),
        ended: MonotonicNs(BEGAN + 7_400_000_000),
        clock: CLOCK,
        older_than: Duration::ZERO,
        max_dwell: Some(Duration::from_secs(5)),
        leaks: LeakReport::new(survey, &scene.stacks, surroundings),
        outcome,
        allow_list: Some(PathBuf::from("tcpstate-allow.toml")),
        allowances,
        processes_left: 1,
    }
}

/// Nothing leaked, nothing was lost, nothing was allowed.
fn nothing(end: CommandEnd) -> RunReport {
    let mut scene = scene();
    let survey = scene.survey();
    RunReport {
        outcome: scene
            .leaks
            .outcome(&Observed { now: MonotonicNs(scene.now), asleep_in_send: None, fold: &|place| place }, &|_| None),
        leaks: LeakReport::new(survey, &scene.stacks, Surroundings { top: usize::MAX, ..Surroundings::default() }),
        max_dwell: None,
        allow_list: None,
        allowances: Vec::new(),
        processes_left: 0,
        ..report(scene, end)
    }
}

fn text(report: &RunReport, code: u8, width: Option<usize>, color: bool, top: usize) -> String {
    let mut out = Vec::new();
    RunText { color, width, top }.report(&mut out, report, code).expect("a Vec takes it");
    String::from_utf8(out).expect("text is UTF-8")
}

fn json(report: &RunReport, code: u8) -> Value {
    let line = run_json::render(report, code).expect("a Vec takes it");
    assert!(line.ends_with(b"}\n") && line.iter().filter(|&&byte| byte == b'\n').count() == 1);
    let value = serde_json::from_slice(&line).expect("JSON");
    let schema = serde_json::from_str(include_str!("../../schema/run-v1.schema.json")).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors: Vec<_> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    value
}

#[test]
fn text_for_people() {
    let report = everything();
    assert_golden("run.txt", &text(&report, 99, None, false, 10));
    assert_golden("run-80.ansi", &text(&report, 99, Some(80), true, 2));
    let narrow = without_colors(&text(&report, 99, Some(80), true, 10));
    assert!(!narrow.contains('\x1b'), "what a name holds reaches no terminal");
    assert_eq!(
        text(&nothing(CommandEnd::Exited(0)), 0, None, false, 10),
        "tcpstate: no socket leaked in 7.4 s; the command succeeded\n"
    );
    assert_eq!(
        text(&nothing(CommandEnd::Exited(3)), 3, None, false, 10),
        "tcpstate: no socket leaked in 7.4 s; the command failed with exit code 3\n"
    );
    assert_eq!(
        text(&nothing(CommandEnd::Killed(15)), 143, None, false, 10),
        "tcpstate: no socket leaked in 7.4 s; the command was ended by signal 15\n"
    );
}

#[test]
fn json_for_programs() {
    let value = json(&everything(), 99);
    assert_golden("run.json", &format!("{value:#}\n"));
    assert_eq!((&value["leaked"], &value["allowed"]), (&8.into(), &1.into()));
    let fates: Vec<_> = value["leaks"].as_array().expect("leaks").iter().map(|leak| &leak["fate"]).collect();
    for fate in ["closed-by-exit", "closed-at-exit", "open-at-end", "closed-late"] {
        assert!(fates.iter().any(|&found| found == fate), "{fate}: {fates:?}");
    }
    for (end, code, signal) in
        [(CommandEnd::Exited(3), Value::from(3), Value::Null), (CommandEnd::Killed(9), Value::Null, 9.into())]
    {
        let value = json(&nothing(end), end.code());
        assert_eq!((&value["command_exit_code"], &value["command_signal"]), (&code, &signal));
        assert_eq!((&value["leaks"], &value["complete"]), (&Value::Array(Vec::new()), &true.into()));
    }
}

#[test]
fn junit_for_ci() {
    let report = everything();
    let xml = run_junit::render(&report).expect("XML");
    assert_golden("run.xml", &xml);
    let (cases, failures, skipped) = count(&xml);
    let leaking = report.leaking().len();
    assert_eq!((failures, skipped), (leaking, 2));
    assert_eq!(cases, report.outcome.findings.len() + 1);
    let passed = run_junit::render(&nothing(CommandEnd::Exited(0))).expect("XML");
    assert_golden("run-nothing.xml", &passed);
    assert_eq!(count(&passed), (1, 0, 0));
}

/// Test cases, failures and skipped ones, by a reader of XML.
fn count(xml: &str) -> (usize, usize, usize) {
    let mut reader = Reader::from_str(xml);
    let (mut cases, mut failures, mut skipped) = (0, 0, 0);
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                b"testcase" => cases += 1,
                b"failure" => failures += 1,
                b"skipped" => skipped += 1,
                _ => {}
            },
            Event::Eof => return (cases, failures, skipped),
            _ => {}
        }
    }
}

/// What there was no room for is told of in every format, and fails the gate.
#[test]
fn what_has_no_room_is_told() {
    let mut report = nothing(CommandEnd::Exited(0));
    report.outcome.not_kept = 7;
    assert_eq!(report.leaked(), 7);
    assert!(text(&report, 99, None, false, 10).contains("incomplete: 7 leaked sockets had no room"));
    let value = json(&report, 99);
    assert_eq!((&value["not_kept"], &value["leaked"]), (&7.into(), &7.into()));
    assert_eq!(count(&run_junit::render(&report).expect("XML")), (1, 1, 0));
}

/// What the kernel hides is told of in every format.
#[test]
fn what_is_not_seen_is_told() {
    let mut report = nothing(CommandEnd::Exited(0));
    report.leaks.unseen = vec!["no stacks"];
    assert!(text(&report, 0, None, false, 10).contains("for want of a hook: no stacks"));
    assert_eq!(json(&report, 0)["unseen"], serde_json::json!(["no stacks"]));
    assert!(run_junit::render(&report).expect("XML").contains("for want of a hook: no stacks"));
}

/// Verdicts are in all formats the same words.
#[test]
fn formats_agree() {
    let report = everything();
    let (text, value) = (text(&report, 99, None, false, 100), json(&report, 99));
    let xml = run_junit::render(&report).expect("XML");
    for leak in value["leaks"].as_array().expect("leaks") {
        let verdict = leak["verdict"].as_str().expect("a verdict");
        assert!(Verdict::ALL.iter().any(|known| known.name() == verdict), "{verdict}");
        assert!(leak["allowed_by"].is_number() || text.contains(verdict), "{verdict} is not in the text");
        assert!(xml.contains(&format!("name=\"{verdict}")), "{verdict} is not in the XML");
    }
}
