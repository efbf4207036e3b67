//! What is said besides the verdict: late closes, ages, where sockets came from, growth, and what a loss leaves.

use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::{
        leaks::{Growth, LeakOptions, Opening, Side},
        verdict::Verdict,
    },
    model::{
        Owner, State,
        leak::{FoundListener, PlaceId},
    },
};

use super::{
    scene::{SECOND, Scene, accepts, connects},
    survey::{only, verdicts},
};

/// To the nearest one: a snapshot does not take all sockets at one moment.
fn seconds(ns: u64) -> u64 {
    (ns + SECOND / 2) / SECOND
}

#[test]
fn closed_late_with_who_told_and_who_closed() {
    let options = LeakOptions {
        older_than: std::time::Duration::from_millis(40),
        accept_hook: true,
        receive_hook: true,
        descriptors: true,
    };
    let mut scene = Scene::with(options);
    for n in 0..200 {
        let socket = scene.fin(accepts(7, "slow", 80, 1));
        scene.read_eof(socket, 7, 8, "conn", 2);
        scene.wait_ms([50, 100, 200, 400][n % 4]);
        scene.close(socket, 3);
    }
    let quick = scene.fin(accepts(7, "slow", 80, 1));
    scene.wait_ms(39);
    scene.close(quick, 3);
    let survey = scene.watch(1);
    assert_eq!(verdicts(&survey), []);
    let [closed] = survey.closed_late.as_slice() else { panic!("one origin: {survey:#?}") };
    assert_eq!((closed.sockets, closed.unseen, closed.at_least), (200, 0, 0));
    assert_eq!(closed.max_ns, 400_000_000);
    assert!(closed.p50_ns.abs_diff(100_000_000) <= 1_000_000, "{closed:?}");
    assert_eq!(closed.histogram.iter().map(|&(_, count)| count).collect::<Vec<_>>(), [50, 50, 50, 50]);
    assert_eq!(closed.told.top, [(PlaceId(2), 200)]);
    assert_eq!(closed.closed.top, [(PlaceId(3), 200)]);
}

#[test]
fn well_behaved_programs_are_not_mentioned() {
    let mut scene = Scene::new();
    for _ in 0..4_000 {
        let socket = scene.fin(accepts(7, "churn", 80, 1));
        scene.read_eof(socket, 7, 7, "churn", 2);
        scene.wait_ms(1);
        scene.close(socket, 3);
    }
    let survey = scene.watch(3);
    assert_eq!((verdicts(&survey), survey.totals.closed_late, survey.totals.close_wait), (vec![], 0, 0));
}

#[test]
fn a_snapshot_in_passing_shows_no_young_sockets() {
    let mut scene = Scene::new();
    // An idle connection whose FIN has just come: only the lower bound says that it is young.
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.load(socket).last_data_recv_ms = 30_000;
    scene.snapshot();
    let survey = scene.survey();
    assert_eq!((verdicts(&survey), survey.totals.young), (vec![], 1));
    assert!(survey.settles_in_ns.is_some_and(|ns| ns <= SECOND), "{survey:?}");
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 1)]);
    assert_eq!(scene.survey().settles_in_ns, None);
}

#[test]
fn the_age_interval_contains_the_truth_and_only_narrows() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.load(socket).last_data_recv_ms = 700;
    let truth = scene.now;
    scene.wait_ms(10_000);
    scene.snapshot();
    let first = only(&scene.survey()).ages.oldest;
    // A keepalive of our own is answered.
    scene.load(socket).last_ack_recv_ms = 0;
    scene.wait_ms(1_000);
    scene.snapshot();
    let age = only(&scene.survey()).ages.oldest;
    let true_age = scene.now - truth;
    assert!(age.at_least_ns <= true_age && age.at_most_ns.is_some_and(|most| most >= true_age), "{age:?}");
    assert_eq!(age.at_least_ns, first.at_least_ns + SECOND);
}

#[test]
fn what_is_longer_ago_than_can_be_told_has_no_upper_bound() {
    let mut scene = Scene::new();
    scene.now += 60 * 24 * 3600 * SECOND;
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    let load = scene.load(socket);
    (load.last_data_recv_ms, load.last_ack_recv_ms) = (u32::MAX, u32::MAX);
    scene.snapshot();
    let age = only(&scene.survey()).ages.oldest;
    assert!(age.at_most_ns.is_none() && age.at_least_ns > 49 * 24 * 3600 * SECOND, "{age:?}");
}

#[test]
fn openings_before_the_trace_are_inferred_from_later_leaks() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.fin_before(accepts(7, "srv", 80, 1));
        scene.fin_before(connects(7, "srv", 5432, 2));
    }
    scene.snapshot();
    let survey = scene.watch(1);
    let sides: Vec<_> = survey.groups.iter().map(|group| (group.origin.side, group.origin.opening)).collect();
    let before = Opening::BeforeTrace;
    assert_eq!(sides, [(Side::LocalPort(80), before), (Side::RemotePort(5432), before)]);

    scene.fin(accepts(7, "srv", 80, 1));
    let survey = scene.watch(1);
    let openings: Vec<_> = survey
        .groups
        .iter()
        .map(|group| (group.origin.side, group.origin.opening, group.sockets, group.inferred.sockets))
        .collect();
    assert_eq!(
        openings,
        [(Side::Accepted(80), Opening::Seen(PlaceId(1)), 4, 3), (Side::RemotePort(5432), before, 3, 0)]
    );

    // Another place that leaks for the same listener: nobody knows any more.
    scene.fin(accepts(7, "srv", 80, 99));
    let survey = scene.watch(1);
    assert!(survey.groups.iter().all(|group| !matches!(group.origin.opening, Opening::Inferred(_))), "{survey:#?}");
}

/// What a process holds that another one opened, which the filters leave out, is known only from snapshots on.
#[test]
fn who_was_told_is_remembered_until_a_snapshot_knows_the_socket() {
    let mut scene = Scene::new();
    scene.leaks = scene.leaks.filtered_by_process(true);
    let sockets: Vec<_> = (0..3).map(|_| scene.fin_before(accepts(7, "srv", 80, 1))).collect();
    scene.read_eof(sockets[0], 7, 8, "srv", 2);
    scene.read_eof(sockets[1], 7, 8, "srv", 2);
    assert!(scene.leaks.places().contains(&PlaceId(2)), "its stack is needed");
    // What is closed at once is in no snapshot.
    scene.close(sockets[1], 3);
    let survey = scene.watch(1);
    assert_eq!(verdicts(&survey), [(Verdict::EofUnread, 1), (Verdict::EofRead, 1)]);
    let told = survey.groups.iter().find(|group| group.verdict == Verdict::EofRead).map(|group| &group.told.top);
    let told: Vec<_> = told.into_iter().flatten().map(|(teller, count)| (teller.place, *count)).collect();
    assert_eq!(told, [(Some(PlaceId(2)), 1)]);
}

#[test]
fn with_filters_by_process_somebody_else_may_have_opened_them() {
    let mut scene = Scene::new();
    scene.leaks = scene.leaks.filtered_by_process(true);
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    let survey = scene.watch(1);
    assert_eq!(only(&survey).origin.opening, Opening::LeftOut);
    assert_eq!((only(&survey).origin.side, survey.left_out.len()), (Side::LocalPort(80), 0));
    let mut listener = FoundListener {
        facts: scene.found(socket).facts,
        owner: scene.found(socket).owner.map(|owner| Owner { pid: 6, ..owner }),
        holders: Vec::new(),
        backlog: 0,
        backlog_limit: 128,
        dropped: 0,
    };
    scene.listeners.push(listener.clone());
    let survey = scene.watch(1);
    assert_eq!(only(&survey).origin.side, Side::Accepted(80));
    let at = (listener.facts.netns, 80);
    assert_eq!(survey.left_out.get(&at).map(|process| process.pid), Some(6));
    // Where several listen, nobody knows which of them accepted.
    listener.owner = listener.owner.map(|owner| Owner { pid: 5, ..owner });
    scene.listeners.push(listener);
    assert_eq!(scene.watch(1).left_out.get(&at), None);
    // What it opens itself still teaches.
    scene.fin(accepts(7, "srv", 80, 1));
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.origin.opening, group.sockets, group.inferred.sockets), (Opening::Seen(PlaceId(1)), 2, 1));
}

#[test]
fn figures_of_a_kind_are_those_of_all_its_sockets() {
    let mut scene = Scene::new();
    for _ in 0..6 {
        scene.fin_before(accepts(7, "srv", 80, 1));
    }
    scene.watch(5);
    for _ in 0..20 {
        scene.fin(accepts(7, "srv", 80, 1));
        scene.watch(1);
    }
    let survey = scene.survey();
    let group = only(&survey);
    assert_eq!((group.sockets, group.inferred.sockets), (26, 6));
    // Of before the trace: 50 s ago. The others: 2, 4, … 40 s ago.
    let ages = group.ages;
    assert_eq!([ages.p50_ns, ages.p99_ns, ages.youngest_ns].map(seconds), [26, 50, 2]);
    assert_eq!((seconds(ages.oldest.at_least_ns), ages.inexact), (50, 6));
    assert_eq!(seconds(group.socket_ns), (1..=20).map(|n| 2 * n).sum::<u64>() + 6 * 50);
    assert_eq!(seconds(group.inferred.socket_ns), 6 * 50);
    // Their joining is no growth.
    let growth = group.growth.expect("40 s");
    assert!((growth.per_minute - 30.0).abs() < 1e-6, "{growth:?}");
    assert!(growth.change <= 20, "{growth:?}");
    assert_eq!(group.peers.top.iter().map(|&(_, sockets)| sockets).sum::<u64>(), 26);
    assert_eq!(group.held.by.iter().map(|&(process, sockets)| (process.pid, sockets)).collect::<Vec<_>>(), [(7, 26)]);
    assert!(
        group.examples.iter().all(|example| seconds(example.age.at_least_ns) == 50),
        "the oldest of all: {group:?}"
    );
}

#[test]
fn late_closes_are_of_one_kind_with_those_of_before_the_trace() {
    let mut scene = Scene::new();
    let before = [(); 2].map(|()| scene.fin_before(accepts(7, "srv", 80, 1)));
    scene.watch(1);
    let seen = [(); 3].map(|()| scene.fin(accepts(7, "srv", 80, 1)));
    scene.watch(1);
    before.into_iter().chain(seen).for_each(|socket| scene.close(socket, 3));
    let survey = scene.watch(1);
    let [closed] = survey.closed_late.as_slice() else { panic!("one kind: {survey:#?}") };
    assert_eq!((closed.sockets, closed.inferred, closed.at_least), (5, 2, 2));
    assert_eq!(closed.origin.opening, Opening::Seen(PlaceId(1)));
}

#[test]
fn a_forecast_says_what_grows() {
    let mut scene = Scene::new();
    scene.snapshot();
    let (leaks, others) = (accepts(7, "srv", 80, 1), accepts(8, "files", 81, 2));
    for _ in 0..5 {
        scene.fin(others);
    }
    for _ in 0..20 {
        scene.fin(leaks);
        // Files, say.
        scene.process(8, "files").descriptors += 3;
        scene.watch(1);
    }
    let survey = scene.survey();
    let row = |pid| *survey.processes.iter().find(|row| row.process.pid == pid).expect("both leak");
    let rates = |pid| {
        let rate = |growth: Option<Growth>| growth.map(|growth| growth.per_minute.round());
        (rate(row(pid).descriptor_growth), rate(row(pid).leaked_growth))
    };
    assert_eq!((rates(7), rates(8)), ((Some(30.0), Some(30.0)), (Some(90.0), Some(0.0))));
    assert!(row(7).forecast.is_some() && row(8).forecast.is_some(), "both fill up: {survey:?}");
    let of_others = survey
        .groups
        .iter()
        .find(|group| group.origin.process.is_some_and(|process| process.pid == 8))
        .and_then(|group| group.growth);
    assert!(of_others.is_some_and(|growth| growth.flat && !growth.is_up()), "{of_others:?}");
    // What has stopped growing leads nowhere, although it grew over the whole window.
    let survey = scene.watch(25);
    assert!(survey.processes.iter().all(|row| row.forecast.is_none()), "{survey:?}");
}

#[test]
fn what_came_at_once_has_no_rate_and_has_grown() {
    let mut scene = Scene::new();
    scene.fin(accepts(7, "srv", 80, 1));
    scene.watch(10);
    for _ in 0..9 {
        scene.fin(accepts(7, "srv", 80, 1));
    }
    let survey = scene.watch(2);
    let growth = only(&survey).growth.expect("24 s");
    assert!(!growth.has_rate() && growth.is_up() && !growth.flat, "{growth:?}");
    assert_eq!(growth.change, 9);
    assert_eq!(survey.processes.first().and_then(|row| row.forecast), None, "one leap is no trend");
}

#[test]
fn growth_and_forecast() {
    let mut scene = Scene::new();
    scene.snapshot();
    for _ in 0..20 {
        scene.fin(accepts(7, "srv", 80, 1));
        scene.fin(accepts(7, "srv", 80, 1));
        scene.watch(1);
    }
    let survey = scene.survey();
    let growth = only(&survey).growth.expect("40 s");
    assert!((growth.per_minute - 60.0).abs() < 1e-6, "{growth:?}");
    let [row] = survey.processes.as_slice() else { panic!("one process: {survey:#?}") };
    assert_eq!((row.descriptors, row.limit), (Some(45), Some(1024)));
    let forecast = row.forecast.expect("a trend");
    let truth = (1024 - 45) * SECOND;
    assert!(forecast.soonest_ns <= truth && truth <= forecast.latest_ns, "{forecast:?}");
}

#[test]
fn after_a_loss_the_snapshot_is_right() {
    let mut scene = Scene::new();
    let leaked = scene.fin(accepts(7, "srv", 80, 1));
    let closed = scene.fin(accepts(7, "srv", 80, 1));
    scene.watch(1);
    // Its close is lost, and so is the beginning of another leak.
    let lost = scene.fin_before(accepts(7, "srv", 80, 1));
    let gone = scene.found(closed).clone();
    scene.found(closed).state = State::Known(TcpState::LastAck);
    scene.found(closed).holders.clear();
    let survey = scene.watch(1);
    assert_eq!(survey.totals.close_wait, 2);
    assert_eq!(survey.groups.iter().map(|group| group.sockets).sum::<u64>(), 2);
    assert!(scene.found(leaked).facts.id != gone.facts.id && scene.found(lost).facts.id != gone.facts.id);
    // Until the next snapshot its own events could still have told.
    assert_eq!(scene.watch(1).closed_late.first().map(|closed| (closed.sockets, closed.unseen)), Some((0, 1)));
}
