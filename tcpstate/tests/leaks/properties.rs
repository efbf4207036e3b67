//! Whatever others call their threads and functions, and whatever is missing, reports stay well-formed.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tcpstate::report::{
    clock::{TimeFormat, TimeStyle, WallClock},
    folded::{self, Weight},
    leaks::{LeakReport, Surroundings},
    leaks_json::LeaksJson,
    leaks_text::LeaksText,
    svg,
};
use tcpstate_core::model::{
    MonotonicNs, OwnerSource, ProcessId,
    leak::{LeakLosses, PlaceId},
    stack::{Frame, Sleepers, Source, Stack},
};

use super::scene::{Opener, Scene, name};

const CLOCK: WallClock = WallClock { offset_ns: 0 };

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("main".to_owned()),
        Just("a;b c\n\u{1b}[31m\u{202e}\\".to_owned()),
        Just(String::new()),
        "\\PC{0,40}",
        any::<String>(),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let source = (hostile(), any::<Option<u32>>()).prop_map(|(file, line)| Source { file: PathBuf::from(file), line });
    let module = prop::option::of(prop_oneof![Just("/usr/lib/libc.so.6".to_owned()), hostile()]);
    (prop::option::of(hostile()), prop::option::of(source), module, any::<u64>(), any::<bool>()).prop_map(
        |(function, source, module, offset, inlined)| Frame {
            function,
            source,
            module: module.map(|path| PathBuf::from(path).into()),
            offset,
            inlined,
            runtime: false,
        },
    )
}

fn stack() -> impl Strategy<Value = Stack> {
    let kernel = prop::collection::vec(hostile(), 0..3);
    (prop::collection::vec(frame(), 0..6), kernel, prop::option::of(hostile()), prop::option::of(hostile()))
        .prop_map(|(frames, kernel, truncated, hint)| Stack { frames, kernel, truncated, hint, process: None })
}

/// A socket: its opener, what is known of it, and what becomes of it.
#[derive(Clone, Debug)]
struct Life {
    source: OwnerSource,
    pid: u32,
    comm: String,
    port: u16,
    place: Option<u64>,
    before: bool,
    load: bool,
    recv_q: u32,
    send_q: u32,
    then: u8,
    wait_ms: u64,
}

fn life() -> impl Strategy<Value = Life> {
    let source = prop::sample::select(vec![OwnerSource::Accept, OwnerSource::Connect, OwnerSource::Listen]);
    let known = (any::<bool>(), any::<bool>(), 0_u32..3, prop_oneof![Just(0_u32), any::<u32>()]);
    (source, 1_u32..4, hostile(), 1_u16..4, prop::option::of(0_u64..4), known, 0_u8..6, 0_u64..3_000).prop_map(
        |(source, pid, comm, port, place, (before, load, recv_q, send_q), then, wait_ms)| Life {
            source,
            pid,
            comm,
            port,
            place,
            before,
            load,
            recv_q,
            send_q,
            then,
            wait_ms,
        },
    )
}

fn report(lives: &[Life], stacks: Vec<Stack>, losses: LeakLosses, top: usize) -> LeakReport {
    let mut scene = Scene::new();
    let asleep = stacks.first().cloned().unwrap_or_default();
    for (place, stack) in stacks.into_iter().enumerate() {
        scene.stacks.insert(PlaceId(place as u64), stack);
    }
    for life in lives {
        let comm: &'static str = String::leak(life.comm.clone());
        let opener = Opener { pid: life.pid, comm, source: life.source, port: life.port, place: life.place };
        let socket = if life.before { scene.fin_before(opener) } else { scene.fin(opener) };
        if life.load {
            scene.load(socket).recv_q = life.recv_q;
            scene.load(socket).send_q = life.send_q;
        }
        match life.then {
            0 => scene.read_eof(socket, life.pid, life.pid, comm, 1),
            1 => scene.reset(socket),
            2 => scene.found(socket).holders.clear(),
            3 => scene.found(socket).holders.iter_mut().for_each(|holder| holder.pid = 77),
            _ => {}
        }
        if !life.load {
            scene.found(socket).load = None;
        }
        scene.wait_ms(life.wait_ms);
        scene.snapshot();
        scene.survey();
        if life.then == 4 {
            scene.close(socket, 2);
        }
    }
    let survey = scene.watch(3);
    let sleepers = Sleepers {
        pid: 5,
        threads: 3,
        tid: 9,
        comm: name("\u{1b}]0;x\u{7}"),
        syscall: asleep.hint.clone(),
        stack: Arc::new(asleep),
    };
    let surroundings = Surroundings {
        sleepers: BTreeMap::from([(ProcessId { pid: 1, start: None }, vec![sleepers])]),
        activities: BTreeMap::new(),
        losses,
        unrepaired: losses.events % 2 == 1,
        unseen: Vec::new(),
        top,
        ..Surroundings::default()
    };
    LeakReport::new(survey, &scene.stacks, surroundings)
}

fn losses() -> impl Strategy<Value = LeakLosses> {
    let number = || prop_oneof![Just(0_u64), any::<u64>()];
    (number(), number(), number(), number()).prop_map(|(events, map_full, stacks_skipped, stacks_dropped)| LeakLosses {
        events,
        map_full,
        stacks_skipped,
        stacks_dropped,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reports_are_well_formed(
        lives in prop::collection::vec(life(), 0..12),
        stacks in prop::collection::vec(stack(), 0..4),
        losses in losses(),
        top in 0_usize..4,
        width in prop::option::of(0_usize..200),
    ) {
        let report = report(&lives, stacks, losses, top);
        let totals = report.survey.totals;
        let groups = || report.survey.groups.iter().chain(&report.survey.sending);
        let ghosts: u64 = groups().filter(|group| group.verdict.name() == "ghost-fd").map(|group| group.sockets).sum();
        prop_assert_eq!(groups().map(|group| group.sockets).sum::<u64>() - ghosts + totals.young, totals.close_wait);
        for group in groups() {
            prop_assert!(group.ages.youngest_ns <= group.ages.p50_ns && group.ages.p50_ns <= group.ages.p99_ns);
            prop_assert!(group.ages.p99_ns <= group.ages.oldest.at_least_ns);
            prop_assert!(group.ages.oldest.at_most_ns.is_none_or(|most| most >= group.ages.oldest.at_least_ns));
            prop_assert_eq!(group.peers.top.iter().map(|(_, n)| n).sum::<u64>() + group.peers.others, group.sockets);
        }

        let time = TimeFormat { style: TimeStyle::Local, clock: CLOCK, start: MonotonicNs(0), zone: TimeZone::UTC };
        let mut text = Vec::new();
        LeaksText { time, color: false, width }.report(&mut text, &report)?;
        let text = String::from_utf8(text)?;
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{}", text);

        let mut json = Vec::new();
        LeaksJson::new(CLOCK).report(&mut json, &report)?;
        let schema = serde_json::from_str(include_str!("../../schema/leaks-v1.schema.json"))?;
        prop_assert!(jsonschema::is_valid(&schema, &serde_json::from_slice(&json)?), "{}", String::from_utf8_lossy(&json));

        for weight in [Weight::Sockets, Weight::Seconds] {
            for line in folded::lines(&report, weight) {
                let (stack, weight) = line.rsplit_once(' ').expect("a weight");
                prop_assert!(weight.parse::<u64>().is_ok_and(|weight| weight > 0), "{}", line);
                prop_assert!(!line.contains('\n') && stack.split(';').count() >= 3, "{}", line);
            }
            let mut picture = Vec::new();
            svg::write(&mut picture, &report, weight)?;
            prop_assert!(String::from_utf8(picture)?.trim_end().ends_with("</svg>"));
        }
    }
}
