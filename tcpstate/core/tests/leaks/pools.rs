//! Idle client connections whose servers have ended them, and leaks that look alike.

use tcpstate_core::{
    aggregate::{leaks::Opening, verdict::Verdict},
    model::leak::{PlaceId, SocketLoad, Traffic},
};

use super::{
    scene::{Scene, Socket, accepts, connects},
    survey::{only, verdicts},
};

#[test]
fn a_pool_is_a_guess_and_only_of_idle_clients() {
    let mut scene = Scene::new();
    for _ in 0..20 {
        scene.fin(connects(7, "python3", 80, 1));
    }
    assert_eq!(verdicts(&scene.watch(2)), [(Verdict::EofUnread, 20)], "not observed for long enough");
    assert_eq!(verdicts(&scene.watch(10)), [(Verdict::Pool, 20)]);
    assert!(Verdict::Pool.is_guess());
    scene.fin(connects(7, "python3", 80, 1));
    assert_eq!(verdicts(&scene.watch(1)), [(Verdict::EofUnread, 21)], "it grows");

    let mut unread = Scene::new();
    let socket = unread.fin(connects(7, "node", 80, 1));
    unread.load(socket).recv_q = 900;
    assert_eq!(verdicts(&unread.watch(12)), [(Verdict::EofUnread, 1)], "unread data is no idle connection");

    let mut server = Scene::new();
    server.fin(accepts(7, "srv", 80, 1));
    assert_eq!(verdicts(&server.watch(12)), [(Verdict::EofUnread, 1)], "servers have no pools");
}

#[test]
fn the_first_socket_of_a_leak_is_no_pool() {
    let mut scene = Scene::new();
    scene.fin_before(connects(7, "python3", 80, 1));
    scene.snapshot();
    for _ in 0..12 {
        scene.fin(connects(7, "python3", 80, 1));
        scene.watch(1);
    }
    let survey = scene.survey();
    let group = only(&survey);
    assert_eq!((group.origin.opening, group.sockets, group.inferred.sockets), (Opening::Seen(PlaceId(1)), 13, 1));
    assert_eq!(group.verdict, Verdict::EofUnread, "their kind goes on");
}

/// Answered a minute ago, then ended by the server with last words of so many bytes.
fn farewell(bytes: u32) -> SocketLoad {
    SocketLoad {
        recv_q: bytes + 1,
        send_q: 0,
        last_data_recv_ms: 0,
        last_ack_recv_ms: 0,
        last_data_sent_ms: 60_000,
        traffic: Some(Traffic { received: 500 + u64::from(bytes) + 1, sent: 200 }),
    }
}

/// Ten clients of one opening stack, as the first snapshot finds them after their ends.
fn ten(load: &SocketLoad) -> Scene {
    let mut scene = Scene::new();
    let sockets: Vec<Socket> = (0..10).map(|_| scene.fin(connects(7, "java", 5432, 1))).collect();
    sockets.into_iter().for_each(|socket| *scene.load(socket) = *load);
    scene
}

#[test]
fn last_words_on_an_idle_connection_are_no_answer() {
    // close_notify of TLS; PostgreSQL's reason; 408 of HTTP.
    for bytes in [24, 116, 212] {
        let survey = ten(&farewell(bytes)).watch(12);
        assert_eq!(verdicts(&survey), [(Verdict::Pool, 10)], "{bytes} bytes");
        assert_eq!(survey.groups[0].last_words, 10);
    }
    // A server that waits for its close_notify to be answered.
    let patient = SocketLoad { last_data_recv_ms: 4_000, ..farewell(24) };
    assert_eq!(verdicts(&ten(&patient).watch(12)), [(Verdict::Pool, 10)]);
}

#[test]
fn what_may_be_an_answer_is_a_leak() {
    let unread = |what: &str, load: SocketLoad| {
        let survey = ten(&load).watch(12);
        assert_eq!((verdicts(&survey), survey.groups[0].last_words), (vec![(Verdict::EofUnread, 10)], 0), "{what}");
    };
    let goodbye = farewell(24);
    unread("too long", farewell(900));
    unread("so soon after a request", SocketLoad { last_data_sent_ms: 300, ..goodbye });
    unread("nothing was ever read", SocketLoad { traffic: Some(Traffic { received: 25, sent: 200 }), ..goodbye });
    unread("long before the end", SocketLoad { last_data_recv_ms: 20_000, ..goodbye });
    unread("sent to after the end", SocketLoad { last_data_recv_ms: 900, last_data_sent_ms: 0, ..goodbye });
    unread("a recording that does not tell", SocketLoad { traffic: None, ..goodbye });
}

#[test]
fn last_words_of_before_the_trace() {
    let found = |acked_ms| {
        let mut scene = Scene::new();
        let sockets: Vec<Socket> = (0..6).map(|_| scene.fin_before(connects(7, "java", 5432, 1))).collect();
        for socket in sockets {
            *scene.load(socket) = SocketLoad {
                last_data_recv_ms: 30_000,
                last_ack_recv_ms: acked_ms,
                last_data_sent_ms: 90_000,
                ..farewell(116)
            };
        }
        scene.snapshot();
        // One more, which tells where two of them were connected, those to the same peer.
        let socket = scene.fin(connects(7, "java", 5432, 1));
        *scene.load(socket) = farewell(116);
        let mut verdicts = verdicts(&scene.watch(12));
        verdicts.sort_unstable_by_key(|&(_, sockets)| sockets);
        verdicts
    };
    assert_eq!(found(30_000), [(Verdict::Pool, 3), (Verdict::EofUnread, 4)]);
    let known_too_badly = [(Verdict::Pool, 1), (Verdict::EofUnread, 2), (Verdict::EofUnread, 4)];
    assert_eq!(found(0), known_too_badly, "the FIN may have come just now");
}

#[test]
fn a_leak_of_clients_that_get_last_words_is_no_pool() {
    let mut scene = Scene::new();
    for _ in 0..12 {
        let socket = scene.fin(connects(7, "python3", 443, 1));
        *scene.load(socket) = farewell(24);
        scene.watch(1);
    }
    assert_eq!(verdicts(&scene.survey()), [(Verdict::EofUnread, 12)], "it grows");
    assert_eq!(verdicts(&scene.watch(4)), [(Verdict::EofUnread, 12)], "of all ages");

    let mut mixed = ten(&farewell(24));
    let answered = mixed.fin(connects(7, "java", 5432, 1));
    *mixed.load(answered) = farewell(900);
    assert_eq!(verdicts(&mixed.watch(12)), [(Verdict::EofUnread, 11)], "one has an answer unread");

    let mut server = Scene::new();
    let socket = server.fin(accepts(7, "srv", 80, 1));
    *server.load(socket) = farewell(24);
    assert_eq!(verdicts(&server.watch(12)), [(Verdict::EofUnread, 1)], "servers have no pools");
}
