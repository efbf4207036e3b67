//! Servers that leak in other languages than C.

use super::{
    compile,
    expected::{Expected, Stack, Verdict},
    interpreter::Interpreter,
    peers::{Upstream, visit_often},
    program::Program,
    running::{Running, Scenario},
};

pub(crate) const SCENARIOS: [Scenario; 6] =
    [RUST_SESSIONS, CPP_GATEWAY, GO_SESSIONS, GO_TUNNEL, ASYNCIO_ROOM, NODE_FEED];

/// A `TcpStream` that stays in a map.
const RUST_SESSIONS: Scenario = Scenario {
    name: "rust_sessions",
    expected: Expected {
        leaked: 20,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&[
            "session_server::accept_one",
            "session_server::serve_forever",
            "session_server::main",
        ])),
        told: Some(Stack::of(&["session_server::read_until_eof", "session_server::handle_session"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::rust("rust/session_server.rs")?, &[""; 0])?;
        Running::server(program, |_, server| visit_often(server, 20, b"hello rust", 0))
    },
};

/// A cycle of shared pointers that keeps the destructor from running.
const CPP_GATEWAY: Scenario = Scenario {
    name: "cpp_gateway",
    expected: Expected {
        leaked: 16,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&["net::Acceptor::take_connection", "gateway::serve_all", "main"])),
        told: Some(Stack::of(&[
            "net::Tcp::receive",
            "gateway::Session<net::Tcp>::drain",
            "gateway::Session<net::Tcp>::serve",
            "gateway::serve_all",
            "main",
        ])),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::cpp("cpp/gateway.cc")?, &["127.0.0.1"])?;
        Running::server(program, |_, server| visit_often(server, 16, b"hello c++", 0))
    },
};

/// A connection that stays in a slice; Go has frame pointers and no `.eh_frame`.
const GO_SESSIONS: Scenario = Scenario {
    name: "go_sessions",
    expected: Expected {
        leaked: 14,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&["main.acceptLoop", "main.main"])),
        told: Some(Stack::of(&["main.readToEnd", "main.handleConn"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::go("go/sessions.go")?, &[""; 0])?;
        Running::server(program, |_, server| visit_often(server, 14, b"hello go", 0))
    },
};

/// Bytes go from one connection to another by `splice()`, and so does the end.
const GO_TUNNEL: Scenario = Scenario {
    name: "go_tunnel",
    expected: Expected {
        leaked: 12,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&["main.acceptLoop", "main.main"])),
        told: Some(Stack::of(&["main.pump", "main.tunnel"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let upstream = Upstream::echo()?;
        let program =
            Program::start(&compile::go("go/tunnel.go")?, &[format!("127.0.0.1:{}", upstream.address().port())])?;
        Ok(Running::server(program, |_, server| visit_often(server, 12, b"hello", 5))?.keep(upstream))
    },
};

/// An `asyncio` server that keeps the writers of those who hang up.
const ASYNCIO_ROOM: Scenario = Scenario {
    name: "asyncio_room",
    expected: Expected {
        leaked: 10,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack {
            functions: &["_PyEval_EvalFrameDefault"],
            ..Stack::interpreted(&["accept", "_accept_connection", "_run", "_run_once", "run_forever"])
        }),
        told: Some(Stack {
            functions: &["_PyEval_EvalFrameDefault"],
            event_loop: Some("asyncio"),
            ..Stack::interpreted(&["_read_ready__data_received", "_read_ready", "_run", "_run_once", "run_forever"])
        }),
        ..Expected::NO_LEAK
    },
    start: || {
        let python = Interpreter::python()?;
        let program = python.start("python/asyncio_room.py", &[])?;
        let running = Running::server(program, |_, server| visit_often(server, 10, b"hello\n", 6))?;
        Ok(running.interpreted_by(&python))
    },
};

/// A server with half-open sockets that has no listener for their end: libuv is told, in Node's name.
const NODE_FEED: Scenario = Scenario {
    name: "node_feed",
    expected: Expected {
        leaked: 12,
        verdicts: &[Verdict::EofRead],
        told: Some(Stack::of(&["uv__read", "uv__stream_io", "uv__io_poll"]).through("libuv")),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Interpreter::node()?.start("node/feed.js", &[])?;
        Running::server(program, |_, server| visit_often(server, 12, b"hello\n", 6))
    },
};
