//! Programs that leak what they connected.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{
    compile::{self, NO_FRAME_POINTERS},
    expected::{Expected, Queue, Stack, Verdict},
    interpreter::Interpreter,
    peers::{Upstream, http_answer, localhost, read_http_request, visit_often},
    program::Program,
    running::{Ends, Running, Scenario},
};

pub(crate) const SCENARIOS: [Scenario; 4] = [RELAY, RELAY_STATIC, REQUESTS_POOL, NODE_POLLER];

/// Connections in the pool.
const POOL_SIZE: usize = 20;

const RELAY_EXPECTED: Expected = Expected {
    leaked: 25,
    verdicts: &[Verdict::EofRead],
    opened: Some(Stack::of(&["upstream_connect", "serve_one", "main"])),
    told: Some(Stack::of(&["relay_upstream", "serve_one", "main"])),
    ..Expected::NO_LEAK
};

/// A gateway that forgets its connection when the upstream server closes first.
const RELAY: Scenario = Scenario { name: "relay", expected: RELAY_EXPECTED, start: || relay(&[NO_FRAME_POINTERS]) };

/// The same as a static position-independent program: libc's functions are its own.
const RELAY_STATIC: Scenario =
    Scenario { name: "relay_static", expected: RELAY_EXPECTED, start: || relay(&[NO_FRAME_POINTERS, "-static-pie"]) };

fn relay(flags: &[&str]) -> Result<Running> {
    let upstream = Upstream::start(|mut stream| {
        if stream.read(&mut [0; 4096])? > 0 {
            stream.write_all(b"answer")?;
        }
        Ok(())
    })?;
    let program =
        Program::start(&compile::c("c/relay.c", flags)?, &["127.0.0.1", &upstream.address().port().to_string()])?;
    let gateway = localhost(program.port()?);
    let round = move |_: &mut _| visit_often(gateway, 25, b"req", 6);
    Ok(Running::new(program, Ends::Remote(upstream.address()), round).keep(upstream))
}

/// A keep-alive pool after a burst: the server has closed, and the pool looks at its connections only when it needs one.
const REQUESTS_POOL: Scenario = Scenario {
    name: "requests_pool",
    expected: Expected {
        leaked: POOL_SIZE,
        verdicts: &[Verdict::Pool, Verdict::EofUnread],
        grows: false,
        recv_queue: Queue::exactly(1),
        opened: Some(Stack {
            functions: &["_PyEval_EvalFrameDefault"],
            ..Stack::interpreted(&[
                "create_connection",
                "_new_conn",
                "connect",
                "send",
                "urlopen",
                "send",
                "get",
                "fetch_status",
            ])
        }),
        ..Expected::NO_LEAK
    },
    start: || {
        let (everybody, held) = (Barrier::new(POOL_SIZE), Arc::new(Mutex::new(Vec::new())));
        let holding = Arc::clone(&held);
        let upstream = Upstream::start(move |mut stream| {
            read_http_request(&mut stream)?;
            // The first answer waits for the last request, so that no connection serves two requests.
            everybody.wait();
            let mut held = lock(&holding);
            stream.write_all(&http_answer(200, "keep-alive"))?;
            held.push(stream);
            Ok(())
        })?;
        let (url, server) = (format!("http://{}/", upstream.address()), upstream.address());
        let python = Interpreter::python()?;
        let program = python.start("python/requests_pool.py", &[&url, &POOL_SIZE.to_string()])?;
        program.said("READY")?;
        let running = Running::new(program, Ends::Remote(server), move |scene| {
            scene.program.tell("burst")?;
            scene.program.said("DONE")?;
            // The answers were read without the FIN.
            lock(&held).clear();
            Ok(())
        });
        Ok(running.interpreted_by(&python).keep(upstream))
    },
};

/// A paused socket: the body of the response is never consumed, so neither is the FIN behind it.
const NODE_POLLER: Scenario = Scenario {
    name: "node_poller",
    expected: Expected {
        leaked: 15,
        verdicts: &[Verdict::EofUnread],
        recv_queue: Queue::at_least(2),
        // It connects in a tick of its own: `checkStatus` and `pollAll` are not on the stack.
        opened: Some(Stack::interpreted(&["internalConnect", "processTicksAndRejections"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let upstream = Upstream::start(|mut stream| {
            read_http_request(&mut stream)?;
            // In pieces, so that the program has looked at the head before the rest arrives.
            for piece in http_answer(70_000, "close").chunks(14_000) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })?;
        let (url, server) = (format!("http://{}/", upstream.address()), upstream.address());
        let node = Interpreter::node()?;
        let program = node.start("node/poller.js", &[&url, "15"])?;
        program.said("READY")?;
        let running = Running::new(program, Ends::Remote(server), |scene| {
            scene.program.tell("poll")?;
            scene.program.said("DONE")?;
            Ok(())
        });
        Ok(running.interpreted_by(&node).keep(upstream))
    },
};

fn lock(streams: &Mutex<Vec<TcpStream>>) -> MutexGuard<'_, Vec<TcpStream>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}
