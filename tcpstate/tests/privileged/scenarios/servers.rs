//! Servers in C that leak what they accept, or did not accept.

use std::net::SocketAddr;

use anyhow::Result;

use super::{
    compile::{self, FRAME_POINTERS, NO_FRAME_POINTERS},
    expected::{Asleep, Expected, Queue, Stack, Verdict},
    peers::{Upstream, half_close, visit, visit_often},
    program::Program,
    running::{Running, Scenario, Scene},
};

pub(crate) const SCENARIOS: [Scenario; 9] = [
    NEVER_ACCEPTED,
    EPOLL_PROXY,
    FIN_WITH_DATA,
    SEND_BLOCK,
    WORKERS,
    POOL_EXHAUSTED,
    GHOST_SHUTDOWN,
    GHOST_RESET,
    PLUGIN,
];

/// Starts a server of one process and says what its clients do in a round.
fn server(
    source: &str,
    flag: &str,
    arguments: &[&str],
    round: impl FnMut(&mut Scene, SocketAddr) -> Result<()> + 'static,
) -> Result<Running> {
    let arguments = [&["127.0.0.1"], arguments].concat();
    Running::server(Program::start(&compile::c(source, &[flag])?, &arguments)?, round)
}

/// The main thread is stuck; half of the clients send something before they give up.
const NEVER_ACCEPTED: Scenario = Scenario {
    name: "never_accepted",
    expected: Expected {
        leaked: 20,
        verdicts: &[Verdict::NeverAccepted],
        recv_queue: Queue::Mixed(&[(1, 10), (6, 10)]),
        asleep: Some(Asleep {
            syscall: libc::SYS_futex,
            threads: 1,
            stack: Stack::of(&["stuck_on_lock", "start_server", "main"]),
        }),
        ..Expected::NO_LEAK
    },
    start: || {
        server("c/never_accepted.c", NO_FRAME_POINTERS, &[], |_, server| {
            visit_often(server, 10, b"", 0)?;
            visit_often(server, 10, b"hello", 0)
        })
    },
};

/// An event loop that takes `EPOLLRDHUP` for the end of its interest.
const EPOLL_PROXY: Scenario = Scenario {
    name: "epoll_proxy",
    expected: Expected {
        leaked: 30,
        verdicts: &[Verdict::EofUnread],
        recv_queue: Queue::exactly(1),
        opened: Some(Stack::of(&["proxy_accept", "event_loop", "main"])),
        asleep: Some(Asleep { syscall: libc::SYS_epoll_pwait, threads: 1, stack: Stack::of(&["event_loop", "main"]) }),
        ..Expected::NO_LEAK
    },
    start: || {
        let upstream = Upstream::echo()?;
        let port = upstream.address().port().to_string();
        let running =
            server("c/epoll_proxy.c", NO_FRAME_POINTERS, &[&port], |_, server| visit_often(server, 30, b"hello", 5))?;
        Ok(running.keep(upstream))
    },
};

/// One receive takes the request and the FIN: Recv-Q is 0, yet the program was never told.
const FIN_WITH_DATA: Scenario = Scenario {
    name: "fin_with_data",
    expected: Expected {
        leaked: 10,
        verdicts: &[Verdict::FinConsumed],
        opened: Some(Stack::of(&["accept_job", "main"])),
        asleep: Some(Asleep { syscall: libc::SYS_futex, threads: 10, stack: Stack::of(&["job_main"]) }),
        ..Expected::NO_LEAK
    },
    start: || server("c/fin_with_data.c", NO_FRAME_POINTERS, &[], |_, server| visit_often(server, 10, b"request", 0)),
};

/// Threads asleep in `send()`: their clients have ended their own direction and do not read.
const SEND_BLOCK: Scenario = Scenario {
    name: "send_block",
    expected: Expected {
        leaked: 6,
        verdicts: &[Verdict::BlockedInSend],
        send_queue: Queue::at_least(1),
        opened: Some(Stack::of(&["take_conn", "main"])),
        told: Some(Stack::of(&["read_request", "conn_main"])),
        asleep: Some(Asleep { syscall: libc::SYS_sendto, threads: 6, stack: Stack::of(&["push_all", "conn_main"]) }),
        ..Expected::NO_LEAK
    },
    start: || {
        server("c/send_block.c", FRAME_POINTERS, &[], |scene, server| {
            for _ in 0..6 {
                scene.peers.push(half_close(server, b"GET big")?);
            }
            Ok(())
        })
    },
};

/// One thread accepts, another reads to the end and forgets.
const WORKERS: Scenario = Scenario {
    name: "workers",
    expected: WORKERS_EXPECTED,
    start: || server("c/workers.c", FRAME_POINTERS, &[], |_, server| visit_often(server, 32, b"job", 0)),
};

pub(crate) const WORKERS_EXPECTED: Expected = Expected {
    leaked: 32,
    verdicts: &[Verdict::EofRead],
    opened: Some(Stack::of(&["take_client", "acceptor_main"]).on_thread("acceptor")),
    told: Some(Stack::of(&["drain_client", "worker_main"]).on_thread("worker")),
    ..Expected::NO_LEAK
};

/// All threads of a pool wait for what nobody returns; connections are accepted, queued and never read.
const POOL_EXHAUSTED: Scenario = Scenario {
    name: "pool_exhausted",
    expected: Expected {
        leaked: 12,
        verdicts: &[Verdict::EofUnread],
        recv_queue: Queue::exactly(6),
        opened: Some(Stack::of(&["accept_query", "main"])),
        asleep: Some(Asleep {
            syscall: libc::SYS_futex,
            threads: 4,
            stack: Stack::of(&["borrow_database", "serve_query", "pool_main"]).on_thread("pool"),
        }),
        ..Expected::NO_LEAK
    },
    start: || server("c/pool_exhausted.c", NO_FRAME_POINTERS, &[], |_, server| visit_often(server, 12, b"query", 0)),
};

/// `shutdown()` in place of `close()`.
const GHOST_SHUTDOWN: Scenario = Scenario {
    name: "ghost_shutdown",
    expected: Expected {
        leaked: 8,
        verdicts: &[Verdict::GhostFd { left_for: "LAST_ACK" }],
        opened: Some(Stack::of(&["greet", "serve_guests", "main"])),
        told: Some(Stack::of(&["read_to_end", "serve_guests", "main"])),
        shut_down: Some(Stack::of(&["say_goodbye", "serve_guests", "main"])),
        ..Expected::NO_LEAK
    },
    start: || server("c/ghost_shutdown.c", NO_FRAME_POINTERS, &[], |_, server| visit_often(server, 8, b"hello", 0)),
};

/// Writing to subscribers that are gone draws resets; their descriptors stay.
const GHOST_RESET: Scenario = Scenario {
    name: "ghost_reset",
    expected: Expected {
        leaked: 8,
        verdicts: &[Verdict::GhostFd { left_for: "CLOSE" }],
        opened: Some(Stack::of(&["accept_subscriber", "subscribe", "main"])),
        ..Expected::NO_LEAK
    },
    start: || {
        server("c/ghost_reset.c", NO_FRAME_POINTERS, &[], |scene, server| {
            let subscribers = (0..8).map(|_| visit(server, b"", b"welcome\n".len()));
            // All of them are there before the first is gone.
            drop(subscribers.collect::<Result<Vec<_>>>()?);
            scene.program.tell("news")?;
            scene.program.said("PUBLISHED")?;
            Ok(())
        })
    },
};

/// A library loaded while the program runs, with debug info and an inlined function.
const PLUGIN: Scenario = Scenario {
    name: "plugin",
    expected: Expected {
        leaked: 9,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&["accept_session", "plugin_serve", "run_plugin", "main"])),
        told: Some(Stack {
            inlined: &["read_frame"],
            line: Some(("c/plugin.c", "recv(fd, frame->bytes")),
            ..Stack::of(&["read_frame", "serve_session", "plugin_serve", "run_plugin", "main"])
        }),
        ..Expected::NO_LEAK
    },
    start: || {
        let plugin = compile::c("c/plugin.c", &[NO_FRAME_POINTERS, "-g", "-shared", "-fPIC"])?;
        let path = plugin.display().to_string();
        server("c/plugin_host.c", NO_FRAME_POINTERS, &[&path], |_, server| {
            visit_often(server, 9, b"sixteen bytes...", 0)
        })
    },
};
