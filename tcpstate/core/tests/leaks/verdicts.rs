//! What the programs that leak look like, and those that do not.

use std::collections::BTreeMap;

use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::{
        leaks::{LeakOptions, Opening, Side},
        verdict::Verdict,
    },
    model::{
        MonotonicNs, Owner, OwnerSource, Protocol, State,
        leak::{FoundListener, Holder, LeakEvent, PlaceId, SocketLoad, Traffic},
    },
};

use super::{
    scene::{Opener, SECOND, Scene, Socket, accepts, connects, name},
    survey::{only, verdicts},
};

#[test]
fn end_of_file_never_read() {
    let mut scene = Scene::new();
    for _ in 0..30 {
        scene.fin(accepts(812, "proxy", 8080, 1));
    }
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.verdict, group.sockets), (Verdict::EofUnread, 30));
    assert_eq!(group.origin.side, Side::Accepted(8080));
    assert_eq!(group.origin.opening, Opening::Seen(PlaceId(1)));
    assert_eq!(group.process.map(|process| process.pid), Some(812));
    assert_eq!(group.ages.oldest.at_most_ns, Some(2 * SECOND));
    assert!(group.ages.oldest.is_exact());
    assert_eq!((survey.totals.close_wait, survey.totals.processes), (30, 1));
}

#[test]
fn end_of_file_read_by_another_thread() {
    let mut scene = Scene::new();
    for n in 0..25 {
        let socket = scene.fin(connects(7, "gateway", 9000, 1));
        scene.read_eof(socket, 7, 100 + n, "worker", 2);
    }
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.verdict, group.sockets), (Verdict::EofRead, 25));
    assert_eq!(group.origin.side, Side::Connected(9000));
    let (teller, sockets) = group.told.top[0];
    assert_eq!((teller.place, sockets), (Some(PlaceId(2)), 25));
    assert_eq!(teller.by.map(|by| by.comm), Some(name("worker")));
    assert!(group.peers.top.iter().all(|(peer, _)| peer.port == Some(9000)), "{:?}", group.peers);
}

#[test]
fn data_and_fin_in_one_read() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "jobs", 80, 1));
    scene.load(socket).recv_q = 0;
    let survey = scene.watch(1);
    assert_eq!((only(&survey).verdict, only(&survey).watched), (Verdict::FinConsumed, 1));

    let mut before = Scene::new();
    let socket = before.fin_before(accepts(7, "jobs", 80, 1));
    before.load(socket).recv_q = 0;
    before.snapshot();
    let survey = before.watch(1);
    assert_eq!((only(&survey).verdict, only(&survey).watched), (Verdict::FinConsumed, 0));
}

#[test]
fn a_queue_seen_before_the_read_does_not_count() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 1)]);
    scene.wait_ms(10);
    scene.read_eof(socket, 7, 7, "srv", 2);
    assert_eq!(verdicts(&scene.survey()), [(Verdict::EofRead, 1)], "the verdict changes with the facts");
    scene.load(socket).recv_q = 1;
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 1)], "a queued FIN was not read");
}

#[test]
fn held_by_a_child_only() {
    let mut scene = Scene::new();
    scene.process(4711, "sleep");
    for _ in 0..5 {
        let socket = scene.fin(accepts(4700, "python3", 80, 1));
        scene.read_eof(socket, 4700, 4700, "python3", 2);
        scene.found(socket).holders = vec![Holder { pid: 4711, fd: 5 }];
    }
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.verdict, group.sockets), (Verdict::HeldElsewhere, 5));
    assert_eq!(group.process.map(|process| (process.pid, process.comm)), Some((4711, Some(name("sleep")))));
    assert_eq!(group.opener.map(|process| process.pid), Some(4700));
}

#[test]
fn a_forked_server_is_the_owner_of_what_it_reads() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(10, "inetd", 80, 1));
    scene.found(socket).holders = vec![Holder { pid: 11, fd: 0 }, Holder { pid: 11, fd: 1 }];
    scene.read_eof(socket, 11, 11, "service", 2);
    let survey = scene.watch(1);
    assert_eq!(only(&survey).verdict, Verdict::EofRead);
    assert_eq!(only(&survey).process.map(|process| process.pid), Some(11));
    assert_eq!(only(&survey).held.by.len(), 1, "two descriptors of one socket are one socket held");
}

#[test]
fn a_half_close_in_use_is_no_leak() {
    let mut scene = Scene::new();
    let sockets: Vec<Socket> = (0..8)
        .map(|_| {
            let socket = scene.fin(accepts(7, "legit", 80, 1));
            scene.read_eof(socket, 7, 7, "legit", 2);
            socket
        })
        .collect();
    for _ in 0..20 {
        scene.wait_ms(500);
        for &socket in &sockets {
            scene.load(socket).last_data_sent_ms = 3;
            scene.load(socket).last_ack_recv_ms = 3;
        }
        scene.snapshot();
        let survey = scene.survey();
        assert_eq!(survey.groups, []);
    }
    let survey = scene.survey();
    assert_eq!(verdicts(&survey), [(Verdict::Sending, 8)]);
    assert_eq!((survey.totals.close_wait, survey.totals.sending), (8, 8));
    // They fall silent, and nobody closes them.
    assert_eq!(verdicts(&scene.watch(4)), [(Verdict::EofRead, 8)]);
}

#[test]
fn a_half_close_in_use_of_before_the_trace() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "legit", 80, 1));
    scene.wait_ms(40_000);
    scene.load(socket).recv_q = 0;
    scene.load(socket).last_data_sent_ms = 200;
    scene.load(socket).last_ack_recv_ms = 200;
    scene.snapshot();
    let survey = scene.survey();
    assert_eq!(verdicts(&survey), [(Verdict::Sending, 1)]);
}

#[test]
fn a_half_close_whose_peer_waits_is_no_leak() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "legit", 80, 1));
    scene.process(30, "nc");
    scene.found(socket).awaited_by = Some(30);
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 1)], "it does not read what the peer has sent");
    scene.read_eof(socket, 7, 7, "legit", 2);
    scene.load(socket).recv_q = 0;
    for _ in 0..5 {
        let survey = scene.watch(5);
        assert_eq!(verdicts(&survey), [(Verdict::Sending, 1)]);
        let by: Vec<_> = survey.sending[0].awaited_by.iter().map(|(process, _)| process.comm).collect();
        assert_eq!(by, [Some(name("nc"))]);
    }
    // Seldom, but still: the answer comes in pieces.
    for _ in 0..3 {
        scene.load(socket).last_data_sent_ms = 0;
        assert_eq!(verdicts(&scene.watch(25)), [(Verdict::Sending, 1)]);
    }
    scene.load(socket).send_q = 10_000;
    assert_eq!(verdicts(&scene.watch(10)), [(Verdict::BlockedInSend, 1)], "it waits, but does not read");
    // The peer gives up.
    scene.load(socket).send_q = 0;
    scene.found(socket).awaited_by = None;
    assert_eq!(verdicts(&scene.watch(10)), [(Verdict::EofRead, 1)]);
}

#[test]
fn a_peer_that_is_forgotten_waits_for_ever() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.process(30, "nc");
    scene.read_eof(socket, 7, 7, "srv", 2);
    scene.found(socket).awaited_by = Some(30);
    // As it is since the connection was made, where nothing is sent.
    scene.load(socket).traffic = Some(Traffic { received: 501, sent: 0 });
    scene.load(socket).last_data_sent_ms = 0;
    assert_eq!(verdicts(&scene.watch(29)), [(Verdict::Sending, 1)]);
    let survey = scene.watch(2);
    let group = only(&survey);
    assert_eq!((group.verdict, group.awaited_by.len(), group.nothing_sent), (Verdict::EofRead, 1, 1));
    assert_eq!(group.sent_ago_ns, None, "when the connection was made is no time of sending");
    // At last it is served after all.
    scene.load(socket).traffic = Some(Traffic { received: 501, sent: 100 });
    scene.load(socket).last_data_sent_ms = 0;
    let survey = scene.watch(10);
    assert_eq!((verdicts(&survey), survey.sending[0].nothing_sent), (vec![(Verdict::Sending, 1)], 0));
}

#[test]
fn what_was_found_waiting_has_waited_since_its_end() {
    let mut scene = Scene::new();
    let sockets: Vec<Socket> = (0..2).map(|_| scene.fin_before(accepts(7, "srv", 80, 1))).collect();
    scene.wait_ms(90_000);
    for &socket in &sockets {
        scene.found(socket).awaited_by = Some(30);
        scene.load(socket).recv_q = 0;
    }
    // An acknowledgement of now: the FIN may be as new.
    scene.load(sockets[1]).last_ack_recv_ms = 0;
    scene.snapshot();
    assert_eq!(verdicts(&scene.survey()), [(Verdict::FinConsumed, 1), (Verdict::Sending, 1)]);
}

#[test]
fn where_nothing_was_sent_nothing_was_sent_after_the_end() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.wait_ms(40_000);
    let made = SocketLoad { recv_q: 0, last_data_sent_ms: 200, last_ack_recv_ms: 200, ..*scene.load(socket) };
    *scene.load(socket) = SocketLoad { traffic: Some(Traffic { received: 501, sent: 0 }), ..made };
    scene.snapshot();
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::FinConsumed, 1)]);
}

#[test]
fn data_sent_before_the_end_is_no_use_of_a_half_close() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.read_eof(socket, 7, 7, "srv", 2);
    scene.load(socket).last_data_sent_ms = 1;
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofRead, 1)]);
}

#[test]
fn a_send_queue_that_moves_or_not() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.read_eof(socket, 7, 8, "srv", 2);
    for n in 0..5 {
        scene.wait_ms(2_000);
        scene.load(socket).send_q = 100_000 + n;
        scene.load(socket).last_data_sent_ms = 0;
        scene.load(socket).last_ack_recv_ms = 0;
        scene.snapshot();
        assert_eq!(verdicts(&scene.survey()), [(Verdict::Sending, 1)]);
    }
    let survey = scene.watch(3);
    let group = only(&survey);
    assert_eq!(group.verdict, Verdict::BlockedInSend);
    assert_eq!(group.unmoved_ns.map(|range| range.max), Some(6 * SECOND));
    // Retransmissions to a peer that is gone are no progress.
    scene.load(socket).last_data_sent_ms = 5;
    scene.snapshot();
    assert_eq!(verdicts(&scene.survey()), [(Verdict::BlockedInSend, 1)]);
    scene.asleep_in_send = Some(BTreeMap::from([(7, 6)]));
    assert_eq!(only(&scene.survey()).asleep_in_send, Some(6));
}

#[test]
fn blocked_at_the_first_snapshot() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.wait_ms(30_000);
    *scene.load(socket) = SocketLoad { recv_q: 0, send_q: 2_000_000, ..*scene.load(socket) };
    scene.load(socket).last_data_sent_ms = 29_000;
    scene.load(socket).last_ack_recv_ms = 4_000;
    scene.snapshot();
    assert_eq!(verdicts(&scene.survey()), [(Verdict::BlockedInSend, 1)]);
}

#[test]
fn one_snapshot_does_not_tell_whether_a_send_queue_moves() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.wait_ms(30_000);
    *scene.load(socket) = SocketLoad { recv_q: 0, send_q: 2_000_000, ..*scene.load(socket) };
    scene.load(socket).last_data_sent_ms = 900;
    scene.load(socket).last_ack_recv_ms = 900;
    scene.snapshot();
    let survey = scene.survey();
    assert_eq!(verdicts(&survey), [(Verdict::Sending, 1)]);
    assert!(survey.settles_in_ns.is_some_and(|ns| ns > SECOND), "{:?}", survey.settles_in_ns);
    let survey = scene.watch(2);
    assert_eq!((verdicts(&survey), survey.settles_in_ns), (vec![(Verdict::BlockedInSend, 1)], None));
}

#[test]
fn in_the_backlog_until_somebody_accepts() {
    let opener = |place| Opener { pid: 12, comm: "stuck", source: OwnerSource::Listen, port: 80, place };
    let mut scene = Scene::new();
    let sockets: Vec<Socket> = (0..20).map(|_| scene.fin(opener(None))).collect();
    let found = scene.found(sockets[0]).clone();
    scene.listeners.push(FoundListener {
        facts: found.facts,
        owner: found.owner,
        holders: Vec::new(),
        backlog: 20,
        backlog_limit: 128,
        dropped: 0,
    });
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.verdict, group.sockets), (Verdict::NeverAccepted, 20));
    assert_eq!(group.process.map(|process| process.pid), Some(12));
    assert_eq!(group.origin.opening, Opening::NotAccepted);
    assert_eq!(group.backlogs.first().map(|backlog| (backlog.waiting, backlog.limit)), Some((20, 128)));

    // At last it wakes up; the event is newer than what the snapshot saw.
    let owner = Owner { source: OwnerSource::Accept, ..found.owner.expect("an owner") };
    scene.leaks.push(&LeakEvent::Accepted {
        at: MonotonicNs(scene.now),
        socket: found.facts.id,
        owner,
        opened: Some(PlaceId(9)),
    });
    let survey = scene.survey();
    assert_eq!(verdicts(&survey), [(Verdict::NeverAccepted, 19), (Verdict::EofUnread, 1)]);
}

/// No iterator lists them. Filters by process have listeners told of whose backlog is empty, too.
#[test]
fn what_no_snapshot_lists_waits_no_longer_than_its_backlog() {
    let opener = Opener { pid: 12, comm: "stuck", source: OwnerSource::Listen, port: 80, place: None };
    let mut scene = Scene::new();
    let socket = scene.fin_before(opener);
    let mut found = scene.found(socket).clone();
    scene.gone(socket);
    let owner = found.owner.map(|owner| Owner { source: OwnerSource::Listen, ..owner });
    found.facts.protocol = Protocol::Mptcp;
    let at = MonotonicNs(scene.now);
    scene.leaks.push(&LeakEvent::Entered { at, facts: found.facts, owner, opened: None });
    scene.listeners.push(FoundListener {
        facts: found.facts,
        owner,
        holders: Vec::new(),
        backlog: 1,
        backlog_limit: 128,
        dropped: 0,
    });
    assert_eq!(verdicts(&scene.watch(2)), [(Verdict::NeverAccepted, 1)]);
    scene.listeners[0].backlog = 0;
    assert_eq!(verdicts(&scene.watch(2)), []);
}

#[test]
fn where_descriptors_cannot_be_listed_nobody_is_said_to_hold_nothing() {
    let older_than = std::time::Duration::from_secs(1);
    let options = LeakOptions { older_than, accept_hook: true, receive_hook: true, descriptors: false };
    let mut scene = Scene::with(options);
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.found(socket).holders = Vec::new();
    let survey = scene.watch(2);
    let held = &only(&survey).held;
    assert_eq!((held.by.len(), held.by_nobody, held.unknown), (0, 0, 1));
    assert_eq!(only(&survey).process.map(|process| process.pid), Some(7), "who accepted it was seen");
}

#[test]
fn without_an_accept_hook_the_listener_is_not_blamed() {
    let options = LeakOptions {
        older_than: std::time::Duration::from_secs(1),
        accept_hook: false,
        receive_hook: true,
        descriptors: true,
    };
    let mut scene = Scene::with(options);
    let socket = scene.fin(Opener { pid: 12, comm: "srv", source: OwnerSource::Listen, port: 80, place: None });
    scene.wait_ms(1_500);
    assert_eq!(verdicts(&scene.survey()), [(Verdict::Unknown, 1)]);
    scene.found(socket).unaccepted = false;
    scene.found(socket).holders = vec![Holder { pid: 13, fd: 4 }];
    let survey = scene.watch(1);
    assert_eq!(only(&survey).verdict, Verdict::EofUnread);
    assert_eq!(only(&survey).origin.opening, Opening::NotSeen, "during the trace, for the listener is known");
    assert_eq!(
        only(&survey).process.map(|process| process.pid),
        Some(13),
        "the holder, for who listens need not accept"
    );
}

/// A listener's connection that some hook may have missed the `accept()` of.
fn at_a_listener(scene: &mut Scene) -> Socket {
    scene.fin(Opener { pid: 12, comm: "srv", source: OwnerSource::Listen, port: 80, place: None })
}

#[test]
fn what_reads_a_socket_has_accepted_it() {
    let mut scene = Scene::new();
    let socket = at_a_listener(&mut scene);
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::NeverAccepted, 1)]);
    scene.read_eof(socket, 13, 14, "worker", 2);
    let survey = scene.survey();
    let group = only(&survey);
    assert_eq!(group.verdict, Verdict::EofRead, "newer than the snapshot that found it in the backlog");
    assert_eq!(group.process.map(|process| process.pid), Some(13), "who reads it, for who listens need not accept");
    assert_eq!((group.held.unknown, group.held.by_nobody), (1, 0), "nobody has looked for its descriptors");
    scene.found(socket).unaccepted = false;
    scene.found(socket).holders = vec![Holder { pid: 13, fd: 4 }];
    let survey = scene.watch(1);
    assert_eq!((only(&survey).verdict, only(&survey).held.by.len()), (Verdict::EofRead, 1));
}

#[test]
fn where_an_accept_may_be_missed_no_ghost_is_seen_before_its_descriptor() {
    let older_than = std::time::Duration::from_secs(1);
    let options = LeakOptions { older_than, accept_hook: false, receive_hook: true, descriptors: true };
    let mut scene = Scene::with(options);
    let socket = at_a_listener(&mut scene);
    scene.wait_ms(1_500);
    scene.reset(socket);
    scene.wait_ms(1_500);
    assert_eq!(verdicts(&scene.survey()), [], "reset in the backlog, as far as is known");
    scene.found(socket).unaccepted = false;
    scene.found(socket).holders = vec![Holder { pid: 13, fd: 4 }];
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::GhostFd, 1)]);
}

#[test]
fn ghosts_after_a_reset_or_a_shutdown() {
    let mut scene = Scene::new();
    let sockets: Vec<Socket> = (0..3).map(|_| scene.fin(accepts(7, "srv", 80, 1))).collect();
    scene.wait_ms(5_000);
    scene.reset(sockets[0]);
    scene.found(sockets[1]).state = State::Known(TcpState::LastAck);
    scene.found(sockets[1]).since = None;
    let survey = scene.watch(1);
    let mut found = verdicts(&survey);
    found.sort_unstable();
    assert_eq!(found, [(Verdict::EofUnread, 1), (Verdict::GhostFd, 2)]);
    assert_eq!((survey.totals.close_wait, survey.totals.ghosts), (1, 2));
    scene.close(sockets[0], 5);
    assert_eq!(scene.survey().totals.ghosts, 1);
    assert_eq!(scene.survey().totals.closed_late, 1);
}

#[test]
fn who_shuts_down_and_keeps_the_descriptor_is_named() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.wait_ms(5_000);
    scene.shut_down(socket, 21);
    let survey = scene.watch(1);
    assert_eq!(verdicts(&survey), [(Verdict::GhostFd, 1)]);
    assert_eq!(only(&survey).shut_down.top, [(PlaceId(21), 1)]);
}

#[test]
fn what_no_snapshot_finds_is_gone() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.wait_ms(5_000);
    assert_eq!(scene.watch(1).totals.close_wait, 1);
    scene.gone(socket);
    assert_eq!(scene.watch(1).totals.close_wait, 0);
}

#[test]
fn a_close_with_unread_data_is_no_ghost() {
    let mut scene = Scene::new();
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.wait_ms(5_000);
    scene.reset(socket);
    assert_eq!(scene.survey().totals.ghosts, 0, "on its way through close()");
    scene.close(socket, 5);
    scene.wait_ms(5_000);
    assert_eq!(verdicts(&scene.survey()), []);
}

#[test]
fn what_was_drained_before_the_trace_is_one_fault_with_what_was_read_to_the_end() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        let socket = scene.fin_before(accepts(7, "srv", 80, 1));
        scene.load(socket).recv_q = 0;
    }
    scene.snapshot();
    let survey = scene.watch(1);
    assert_eq!(verdicts(&survey), [(Verdict::FinConsumed, 3)]);
    for _ in 0..2 {
        let socket = scene.fin(accepts(7, "srv", 80, 1));
        scene.read_eof(socket, 7, 8, "conn", 2);
    }
    let survey = scene.watch(1);
    let group = only(&survey);
    assert_eq!((group.verdict, group.sockets, group.inferred.verdict), (Verdict::EofRead, 5, 3));
    assert_eq!(group.told.top.iter().map(|&(_, sockets)| sockets).sum::<u64>(), 2);
    // Others of the same code were seen not to be told: nobody knows of which kind the older ones are.
    let socket = scene.fin(accepts(7, "srv", 80, 1));
    scene.load(socket).recv_q = 0;
    let mut found = verdicts(&scene.watch(1));
    found.sort_unstable();
    assert_eq!(found, [(Verdict::EofRead, 2), (Verdict::FinConsumed, 4)]);
}

#[test]
fn multipath_tcp_tells_less() {
    let mut scene = Scene::new();
    let socket = scene.fin_before(accepts(7, "srv", 80, 1));
    scene.found(socket).facts.protocol = Protocol::Mptcp;
    scene.load(socket).recv_q = 0;
    scene.snapshot();
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::Unknown, 1)], "an end that was read leaves no trace");
    assert_eq!(only(&scene.survey()).ages.oldest.at_most_ns, None, "its clocks do not tell of it either");
    scene.load(socket).recv_q = 5;
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 1)], "data before the end is unread, and so is that");
    scene.read_eof(socket, 7, 7, "srv", 2);
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofRead, 1)]);
    let mut older = Scene::new();
    let socket = older.fin_before(accepts(7, "srv", 80, 1));
    older.found(socket).facts.protocol = Protocol::Mptcp;
    older.found(socket).load = None;
    older.snapshot();
    assert_eq!(verdicts(&older.watch(1)), [(Verdict::Unknown, 1)]);
}
