//! Programs of several processes: one listens, one opens, one holds.

use std::net::Ipv6Addr;

use anyhow::Result;

use super::{
    compile::{self, FRAME_POINTERS, NO_FRAME_POINTERS},
    expected::{Asleep, Expected, Queue, Stack, Verdict},
    interpreter::Interpreter,
    peers::{visit, visit_often},
    program::{Program, installed},
    running::{Ends, Running, Scenario, Scene},
    servers::WORKERS_EXPECTED,
};
use crate::support::{
    launch::{Launch, Netns},
    netns,
};

pub(crate) const SCENARIOS: [Scenario; 5] = [POPEN_INHERIT, PASSED, PREFORK, REUSEPORT, CONTAINER];

/// The server closes its descriptors; a helper that inherited them does not know of them.
const POPEN_INHERIT: Scenario = Scenario {
    name: "popen_inherit",
    expected: Expected {
        leaked: 5,
        verdicts: &[Verdict::HeldElsewhere],
        opened: Some(Stack {
            functions: &["_PyEval_EvalFrameDefault"],
            ..Stack::interpreted(&["accept", "accept_inheritable", "serve", "<module>"])
        }),
        told: Some(Stack { functions: &["_PyEval_EvalFrameDefault"], ..Stack::interpreted(&["serve", "<module>"]) }),
        ..Expected::NO_LEAK
    },
    start: || {
        let python = Interpreter::python()?;
        let program = python.start("python/popen_inherit.py", &["5"])?;
        let running = Running::server(program, |scene, server| {
            // The helper starts when all are accepted, so nobody may leave before.
            let clients: Vec<_> = (0..5).map(|_| visit(server, b"x", 0)).collect::<Result<_>>()?;
            scene.holders.push(scene.program.number("HELPER")?);
            drop(clients);
            scene.program.said("CLOSED")?;
            Ok(())
        })?;
        Ok(running.held_by(Vec::new()).interpreted_by(&python))
    },
};

/// Accepted by one process, passed to another over a UNIX socket.
const PASSED: Scenario = Scenario {
    name: "passed",
    expected: Expected {
        leaked: 11,
        verdicts: &[Verdict::HeldElsewhere],
        recv_queue: Queue::exactly(4),
        opened: Some(Stack::of(&["front_accept", "front_main", "main"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::c("c/passed.c", &[NO_FRAME_POINTERS])?, &["127.0.0.1"])?;
        let back = program.number("BACK")?;
        Ok(Running::server(program, |_, server| visit_often(server, 11, b"job", 0))?.held_by(vec![back]))
    },
};

/// A master listens, its workers accept.
const PREFORK: Scenario = Scenario {
    name: "prefork",
    expected: Expected {
        leaked: 18,
        verdicts: &[Verdict::EofRead],
        opened: Some(Stack::of(&["accept_connection", "worker_loop", "main"])),
        told: Some(Stack::of(&["serve_connection", "worker_loop", "main"])),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::c("c/prefork.c", &[NO_FRAME_POINTERS])?, &["127.0.0.1"])?;
        let workers: Vec<u32> = (0..3).map(|_| program.number("WORKER")).collect::<Result<_>>()?;
        // With an answer, so that a worker has accepted each before it is closed.
        let running = Running::server(program, |_, server| visit_often(server, 18, b"hello", 5))?;
        Ok(running.opened_by(workers.clone()).held_by(workers))
    },
};

/// Two workers with a listener each on one port; neither accepts.
const REUSEPORT: Scenario = Scenario {
    name: "reuseport",
    expected: Expected {
        leaked: 24,
        verdicts: &[Verdict::NeverAccepted],
        recv_queue: Queue::exactly(1),
        ambiguous_listener: true,
        asleep: Some(Asleep {
            syscall: libc::SYS_futex,
            threads: 2,
            stack: Stack::of(&["wait_for_config", "start_worker", "main"]),
        }),
        ..Expected::NO_LEAK
    },
    start: || {
        let program = Program::start(&compile::c("c/reuseport.c", &[NO_FRAME_POINTERS])?, &["127.0.0.1"])?;
        let running = Running::server(program, |_, server| visit_often(server, 24, b"", 0))?;
        let workers = (0..2).map(|_| running.scene.program.number("WORKER")).collect::<Result<_>>()?;
        Ok(running.opened_by(workers).held_by(Vec::new()))
    },
};

/// A program in network, mount and pid namespaces of its own, whose file has no path outside of them; IPv6.
const CONTAINER: Scenario = Scenario {
    name: "container",
    expected: WORKERS_EXPECTED,
    start: || {
        let server = compile::c("c/workers.c", &[FRAME_POINTERS])?;
        let unshare = installed("unshare")?;
        // What a container runtime does, and the program as the first process inside.
        let enter = format!("mount -t tmpfs none /mnt && cp {} /mnt/app && exec /mnt/app ::1", server.display());
        let arguments = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &enter];
        let launch = Launch { netns: Some(Netns::New), ..Launch::default() };
        let program = Program::launch(&launch, &unshare, &arguments)?;
        let server = (Ipv6Addr::LOCALHOST, program.port()?).into();
        let inside = program.only_child()?;
        let round = move |scene: &mut Scene| netns::inside(&scene.netns(), || visit_often(server, 32, b"job", 0));
        Ok(Running::new(program, Ends::Local(server), round).opened_by(vec![inside]).held_by(vec![inside]))
    },
};
