//! What others make ever more of: processes, places, groups. What leaks now stays, and what is too much is counted.

use std::path::Path;

use tcpstate_core::{
    aggregate::{
        leaks::{Beyond, Surplus, Survey},
        stack_book::StackBook,
        verdict::Verdict,
    },
    model::{
        leak::{Holder, PlaceId},
        stack::{Frame, Stack},
    },
};

use super::scene::{Scene, Socket, accepts, connects};

/// Groups of a survey, processes of a survey, places that get names, and processes and listeners listed of a group.
const MOST_GROUPS: u64 = 1024;
const MOST_ROWS: u64 = 256;
const MOST_PLACES: u64 = 4096;
const MOST_LISTED: usize = 64;

fn sockets(survey: &Survey) -> u64 {
    survey.groups.iter().map(|group| group.sockets).sum()
}

/// As many sockets, each opened by other code; all of one age.
fn crowd(scene: &mut Scene, number: u64) -> Vec<Socket> {
    (0..number).map(|n| scene.fin(connects(9, "crowd", 443, 1_000_000 + n))).collect()
}

#[test]
fn nothing_is_left_out_where_there_is_room() {
    let mut scene = Scene::new();
    crowd(&mut scene, MOST_GROUPS);
    let survey = scene.watch(4);
    assert_eq!((survey.groups.len() as u64, survey.surplus), (MOST_GROUPS, Surplus::default()));
    assert!(survey.groups.iter().all(|group| group.growth.is_some()));
}

#[test]
fn the_largest_groups_are_shown_and_the_others_counted() {
    let mut scene = Scene::new();
    // The sockets of the crowd come first, so that they find room: what comes later is larger.
    let others = crowd(&mut scene, 3 * MOST_GROUPS);
    let leak: Vec<_> = (0..5).map(|_| scene.fin(accepts(7, "gateway", 80, 1))).collect();
    leak.iter().for_each(|&socket| scene.read_eof(socket, 7, 70, "worker", 2));
    let survey = scene.watch(4);
    assert_eq!(survey.groups.len() as u64, MOST_GROUPS);
    let largest = &survey.groups[0];
    assert_eq!((largest.process.map(|process| process.pid), largest.sockets), (Some(7), 5));
    assert_eq!((largest.verdict, largest.told.top[0].1), (Verdict::EofRead, 5));
    assert!(largest.growth.is_some(), "the first of all to be followed");
    let beyond = 2 * MOST_GROUPS + 1;
    assert_eq!(survey.surplus.groups, Beyond { number: beyond, sockets: beyond });
    assert_eq!(survey.totals.close_wait, others.len() as u64 + 5);
    assert_eq!(sockets(&survey) + survey.surplus.groups.sockets, survey.totals.close_wait);
    let row = survey.processes.iter().find(|row| row.process.pid == 9).expect("a row");
    assert_eq!(row.sockets, others.len() as u64, "that of a process counts sockets of all groups");
    assert_eq!(survey.surplus.trends, MOST_GROUPS + 1);
}

#[test]
fn whoever_leaks_in_most_places_hides_no_leak_of_others() {
    let mut scene = Scene::new();
    crowd(&mut scene, 2 * MOST_PLACES);
    // Smaller than any of them.
    scene.wait_ms(10_000);
    for place in 1..=3 {
        let socket = scene.fin(accepts(7, "gateway", 80, place));
        scene.read_eof(socket, 7, 70, "worker", 10 + place);
    }
    let survey = scene.watch(4);
    assert_eq!(survey.groups.len() as u64, MOST_GROUPS);
    let gateways = survey.groups.iter().filter(|group| group.process.map(|process| process.pid) == Some(7));
    assert_eq!(gateways.count(), 3);
    let places = scene.leaks.places();
    assert_eq!(places.len() as u64, MOST_PLACES);
    assert!([1, 2, 3, 11, 12, 13].iter().all(|&place| places.contains(&PlaceId(place))));
}

#[test]
fn a_leak_stays_as_it_is_while_ever_new_ones_come_and_go() {
    let mut scene = Scene::new();
    let mut leaked = 0;
    let mut grows = |scene: &mut Scene| {
        let socket = scene.fin(accepts(7, "gateway", 80, 1));
        scene.read_eof(socket, 7, 70, "worker", 2);
        leaked += 1;
        leaked
    };
    let mut place = 1_000;
    for _ in 0..30 {
        grows(&mut scene);
        let brief: Vec<_> = (0..400)
            .map(|n| {
                place += 3;
                let socket = scene.fin(connects(20_000 + n, "brief", 443, place));
                scene.read_eof(socket, 20_000 + n, 1, "brief", place + 1);
                socket
            })
            .collect();
        scene.watch(1);
        brief.into_iter().for_each(|socket| scene.close(socket, place + 2));
    }
    let leaked = grows(&mut scene);
    let survey = scene.watch(1);
    let [group] = &survey.groups[..] else { panic!("not one group: {}", survey.groups.len()) };
    assert_eq!((group.sockets, group.verdict, group.told.top[0].1), (leaked, Verdict::EofRead, leaked));
    let growth = group.growth.expect("followed all the time");
    assert!((growth.per_minute - 30.0).abs() < 3.0, "{growth:?}");
    assert_eq!(survey.totals.closed_late, 30 * 400);
    let kept: u64 = survey.closed_late.iter().map(|late| late.sockets).sum();
    assert_eq!(kept + survey.totals.closed_forgotten, 30 * 400);
    assert!(survey.closed_late.len() <= 256, "{}", survey.closed_late.len());
    assert!(scene.leaks.places().contains(&PlaceId(1)) && scene.leaks.places().contains(&PlaceId(2)));
}

#[test]
fn what_is_closed_late_again_and_again_is_not_forgotten_for_what_comes_once() {
    let mut scene = Scene::new();
    for n in 0..3_000 {
        let again = scene.fin(accepts(7, "gateway", 80, 1));
        let once = scene.fin(connects(9, "brief", 443, 1_000 + n));
        scene.wait_ms(1_500);
        scene.close(again, 2);
        scene.close(once, 3);
    }
    let survey = scene.watch(1);
    let first = &survey.closed_late[0];
    assert_eq!((first.process.map(|process| process.pid), first.sockets), (Some(7), 3_000));
}

#[test]
fn of_many_processes_those_with_the_most_sockets_have_a_row() {
    let mut scene = Scene::new();
    for pid in 0..3_000 {
        scene.fin(accepts(10_000 + pid, "worker", 80, u64::from(pid)));
    }
    for _ in 0..2 {
        scene.fin(accepts(7, "gateway", 80, 1));
    }
    let survey = scene.watch(4);
    assert_eq!((survey.processes.len() as u64, survey.processes[0].process.pid), (MOST_ROWS, 7));
    let beyond = 3_001 - MOST_ROWS;
    assert_eq!(survey.surplus.processes, Beyond { number: beyond, sockets: beyond });
    assert_eq!(survey.surplus.followed, 3_001 - 2_048);
    assert_eq!(survey.totals.processes, 3_001);
    assert!(survey.processes[0].descriptor_growth.is_some(), "the first by number is followed");
}

#[test]
fn of_many_holders_those_of_the_most_sockets_are_listed() {
    let mut scene = Scene::new();
    let sockets = [scene.fin(accepts(7, "master", 80, 1)), scene.fin(accepts(7, "master", 80, 1))];
    for (socket, holders) in sockets.into_iter().zip([1_000, 300]) {
        let found = scene.found(socket);
        found.holders.extend((0..holders).map(|n| Holder { pid: 1_000 + n, fd: 5 }));
    }
    let survey = scene.watch(1);
    let [group] = &survey.groups[..] else { panic!("not one group: {:?}", survey.groups) };
    assert_eq!(group.held.by.len(), MOST_LISTED);
    assert!(group.held.by.iter().all(|&(_, sockets)| sockets == 2), "{:?}", group.held);
    assert_eq!(group.held.others, Beyond { number: 1_001 - 64, sockets: 1_302 - 128 });
    let [first, second] = &group.examples[..] else { panic!("not two: {:?}", group.examples) };
    assert_eq!((first.holders.len(), first.other_holders + second.other_holders), (MOST_LISTED, 1_302 - 128));
}

#[test]
fn places_of_the_most_and_the_oldest_sockets_get_names() {
    let mut scene = Scene::new();
    let oldest = scene.fin(accepts(7, "old", 80, 1));
    scene.wait_ms(10);
    crowd(&mut scene, MOST_PLACES);
    scene.wait_ms(10);
    scene.fin(accepts(8, "twice", 80, 2));
    scene.fin(accepts(8, "twice", 80, 2));
    let places = scene.leaks.places();
    assert_eq!(places.len() as u64, MOST_PLACES);
    assert!(places.contains(&PlaceId(1)) && places.contains(&PlaceId(2)));
    assert_eq!(scene.survey().surplus.places, 2);
    // What is gone makes room, and is wanted last itself.
    scene.wait_ms(2_000);
    scene.close(oldest, 3);
    let places = scene.leaks.places();
    assert!(places.contains(&PlaceId(2)) && !places.contains(&PlaceId(1)) && !places.contains(&PlaceId(3)));
}

#[test]
fn a_book_that_is_full_says_so() {
    let frame = |function: String| Frame {
        function: Some(function),
        source: None,
        module: Some(Path::new("/bin/a").into()),
        offset: 1,
        inlined: false,
        runtime: false,
    };
    let stack = |n: usize| Stack { frames: vec![frame(format!("{n}{}", "x".repeat(10_000)))], ..Stack::default() };
    let mut book = StackBook::with_room(100_000);
    (1..=20).for_each(|n| book.insert(PlaceId(n as u64), stack(n)));
    let known = |book: &StackBook| (1..=20).filter(|&n| book.get(PlaceId(n)).is_some()).count() as u64;
    assert_eq!((known(&book), book.refused()), (9, 11));
    assert!(book.has_refused(PlaceId(20)) && !book.has_refused(PlaceId(1)));
    // The same once more takes no more room.
    book.insert(PlaceId(1), stack(1));
    assert_eq!((known(&book), book.refused()), (9, 11));
    book.retain(&[PlaceId(2)].into());
    assert_eq!((known(&book), book.refused()), (1, 0));
    book.insert(PlaceId(20), stack(20));
    assert!(book.get(PlaceId(20)).is_some());
}
