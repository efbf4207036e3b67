//! What is said besides the verdict: late closes, ages, where sockets came from, growth, and what a loss leaves.

use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::{
        leaks::{LeakOptions, Opening, Side},
        verdict::Verdict,
    },
    model::{State, leak::PlaceId},
};

use super::{
    scene::{SECOND, Scene, accepts, connects},
    survey::{only, verdicts},
};

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
    let openings: Vec<_> =
        survey.groups.iter().map(|group| (group.origin.side, group.origin.opening, group.sockets)).collect();
    assert_eq!(
        openings,
        [
            (Side::Accepted(80), Opening::Inferred(PlaceId(1)), 3),
            (Side::RemotePort(5432), before, 3),
            (Side::Accepted(80), Opening::Seen(PlaceId(1)), 1),
        ]
    );

    // Another place that leaks for the same listener: nobody knows any more.
    scene.fin(accepts(7, "srv", 80, 99));
    let survey = scene.watch(1);
    assert!(survey.groups.iter().all(|group| !matches!(group.origin.opening, Opening::Inferred(_))), "{survey:#?}");
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
