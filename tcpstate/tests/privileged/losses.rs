//! Nothing is lost silently: what was shown and what was lost add up to what happened, exactly.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use libtest_mimic::Trial;
use rustix::{net::sockopt::set_socket_linger, process::Signal};

use crate::support::{
    bpf,
    event::Transition,
    netns::Namespace,
    process::Actor,
    protocol::Socket,
    run::trials,
    tracer::{PATIENCE, Setup, Trace, Tracer},
};

/// Connections opened and closed while the reader rests.
const CONNECTIONS: usize = 500;
/// Five of the client, `CLOSE→SYN_SENT` to `FIN_WAIT2→CLOSE`, and five of the server, `LISTEN→SYN_RECV` to `LAST_ACK→CLOSE`.
const TRANSITIONS: u64 = 10 * CONNECTIONS as u64;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "losses";
        tracer_stopped, reader_of_stdout_stopped, interrupted_while_nobody_reads, none_with_a_large_buffer,
        nothing_overwritten, none_by_ending,
    ]
}

/// What interrupts the program for transitions runs it, so it must not have the private stack of its CPU, which kernels from 6.13 on
/// give to tracing programs: in a million transitions that would overwrite one or two, too few to wait for.
fn nothing_overwritten() -> Result<()> {
    /// `add %gs:OFFSET,%r9` of `emit_priv_frame_ptr()`, `arch/x86/net/bpf_jit_comp.c`, up to the kind of offset.
    const PRIVATE_STACK: [u8; 3] = [0x65, 0x4c, 0x03];
    let tracer = Tracer::unfiltered()?;
    // Names end after 15 bytes.
    let programs = bpf::machine_code(tracer.pid(), "inet_sock_set_s")?;
    ensure!(programs.len() == 2, "{} programs for transitions", programs.len());
    // An absolute offset, or one from the next instruction.
    let adds_offset = |bytes: &[u8]| bytes.starts_with(&PRIVATE_STACK) && matches!(bytes[3], 0x0c | 0x0d);
    let has_private_stack = |code: &Vec<u8>| code.windows(4).any(adds_offset);
    ensure!(!programs.iter().any(has_private_stack), "a program for transitions has a private stack");
    tracer.finish()?;
    Ok(())
}

/// The smallest buffer, and a tracer that cannot read it.
fn tracer_stopped() -> Result<()> {
    attempts(tracer_stopped_once)
}

fn tracer_stopped_once() -> Result<Whole> {
    let load = Load::new()?;
    let witness = load.trace("16M")?;
    let small = load.trace("4096")?;
    small.signal(Signal::STOP)?;
    await_stopped(small.pid())?;
    load.run(&witness)?;
    small.signal(Signal::CONT)?;
    check(&small.finish()?, &witness.finish()?)
}

/// Whoever reads the tracer's standard output has stopped: the pipe fills, the tracer waits, the kernel counts.
fn reader_of_stdout_stopped() -> Result<()> {
    attempts(reader_of_stdout_stopped_once)
}

fn reader_of_stdout_stopped_once() -> Result<Whole> {
    let load = Load::new()?;
    let witness = load.trace("16M")?;
    let (small, gate) = load.setup("4096").start_gated()?;
    gate.close();
    load.run(&witness)?;
    gate.open();
    check(&small.finish()?, &witness.finish()?)
}

/// Ctrl-C waits for the reader to take the rest; Ctrl-C again does not, and says that the rest is missing.
fn interrupted_while_nobody_reads() -> Result<()> {
    let load = Load::new()?;
    let witness = load.trace("16M")?;
    let (tracer, gate) = load.setup("16M").start_gated()?;
    gate.close();
    load.run(&witness)?;
    let deadline = Instant::now() + PATIENCE;
    let stat = format!("/proc/{}/stat", tracer.pid());
    while !std::fs::read_to_string(&stat)?.contains(") Z ") {
        ensure!(Instant::now() < deadline, "Ctrl-C does not end it");
        tracer.signal(Signal::INT)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    gate.open();
    let ended = tracer.end()?;
    ensure!(ended.status.code() == Some(1), "{}", ended.status);
    ensure!(ended.stderr.contains("end of the output is missing"), "not said: {}", ended.stderr);
    Ok(())
}

/// Programs are detached one by one, while connections come and go: what they miss then nobody has asked for.
fn none_by_ending() -> Result<()> {
    /// Each time the programs go in another order.
    const TRACERS: usize = 6;
    let idle = Actor::start("ts-idle")?;
    let churn = Churn::start()?;
    for _ in 0..TRACERS {
        let tracer = Tracer::start(["--pid", &idle.pid.to_string()])?;
        std::thread::sleep(Duration::from_millis(50));
        let summary = tracer.finish()?.summary;
        ensure!(summary.filtered > 0, "nothing came meanwhile: {summary:?}");
        ensure!(summary.lost == 0 && summary.seen == 0, "none of it is of that process: {summary:?}");
    }
    churn.stop()
}

/// A thread whose connections come and go until it is stopped, and no longer than a minute.
struct Churn {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Churn {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let ends = Arc::new(AtomicBool::new(false));
        let (told, deadline) = (Arc::clone(&ends), Instant::now() + Duration::from_secs(60));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) && Instant::now() < deadline {
                let client = TcpStream::connect(listener.local_addr()?)?;
                // By a reset: nothing stays in TIME_WAIT.
                set_socket_linger(&client, Some(Duration::ZERO))?;
                let server = listener.accept()?;
                drop(client);
                drop(server);
            }
            Ok(())
        });
        Ok(Self { ends, thread })
    }

    fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the churn panicked"))?
    }
}

fn none_with_a_large_buffer() -> Result<()> {
    attempts(none_with_a_large_buffer_once)
}

fn none_with_a_large_buffer_once() -> Result<Whole> {
    let load = Load::new()?;
    let tracer = load.trace("16M")?;
    tracer.signal(Signal::STOP)?;
    await_stopped(tracer.pid())?;
    let witness = load.trace("16M")?;
    load.run(&witness)?;
    tracer.signal(Signal::CONT)?;
    let trace = tracer.finish()?;
    ensure!(trace.summary.lost == 0, "{:?}", trace.summary);
    if trace.summary.unseen_at_least > 0 {
        return Ok(Whole::No(format!("{:?}", trace.summary)));
    }
    ensure!(trace.summary.seen == TRANSITIONS, "{:?}", trace.summary);
    Ok(Whole::Yes)
}

/// Whether the kernel ran the witness's programs for every transition: what it runs none for, no tracer counts.
enum Whole {
    Yes,
    No(String),
}

/// Tries again where the witness itself says that it was not shown everything. A tracer that cannot see everything fails all the same.
fn attempts(test: impl Fn() -> Result<Whole>) -> Result<()> {
    const ATTEMPTS: usize = 3;
    let mut said = Vec::new();
    for _ in 0..ATTEMPTS {
        match test()? {
            Whole::Yes => return Ok(()),
            Whole::No(summary) => said.push(summary),
        }
    }
    bail!("the witness never saw everything: {said:?}")
}

fn check(small: &Trace, witness: &Trace) -> Result<Whole> {
    if witness.summary.unseen_at_least > 0 {
        return Ok(Whole::No(format!("{:?}", witness.summary)));
    }
    ensure!(witness.summary.lost == 0, "the witness lost something: {:?}", witness.summary);
    ensure!(witness.summary.transitions == TRANSITIONS, "{TRANSITIONS} transitions, but {:?}", witness.summary);
    ensure!(small.summary.transitions == TRANSITIONS, "{TRANSITIONS} transitions, but {:?}", small.summary);
    ensure!(small.summary.lost > 0, "nothing was lost, so nothing was tried: {:?}", small.summary);
    // Trace::finish has compared seen + lost with transitions, and seen with the lines.
    // What shows a socket's cookie on an old kernel may be among what was lost.
    let same = |t: &Transition, shown: &Transition| {
        t.skaddr == shown.skaddr && (shown.cookie.is_none() || t.cookie == shown.cookie) && t.is(&shown.old, &shown.new)
    };
    let invented = small.transitions.iter().find(|shown| !witness.transitions.iter().any(|t| same(t, shown)));
    ensure!(invented.is_none(), "the witness did not see {invented:?}");
    let told = [small.stderr.contains("lost"), !witness.stderr.contains("transitions lost")];
    ensure!(told == [true, true], "losses are not spoken of on standard error:\n{}", small.stderr);
    Ok(Whole::Yes)
}

/// A server and a client in a namespace where nobody else is, with a listener older than any tracer.
struct Load {
    namespace: Namespace,
    server: Actor,
    client: Actor,
    listener: Socket,
}

impl Load {
    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
        let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { namespace, server, client, listener })
    }

    fn setup(&self, buffer: &str) -> Setup {
        Setup::new(["--buffer", buffer, "--netns", &self.namespace.path().to_string_lossy()])
    }

    fn trace(&self, buffer: &str) -> Result<Tracer> {
        self.setup(buffer).start()
    }

    /// Opens and closes every connection; returns when the witness has shown the last transition.
    fn run(&self, witness: &Tracer) -> Result<()> {
        let opened = self.client.connect_many(self.listener.local, CONNECTIONS)?;
        let accepted = self.server.accept_many(&self.listener, CONNECTIONS)?;
        self.client.close_many(&opened)?;
        let cookies = |sockets: &[Socket]| sockets.iter().map(|socket| socket.cookie).collect::<Vec<_>>();
        witness.wait_entered("CLOSE_WAIT", &cookies(&accepted))?;
        self.server.close_many(&accepted)?;
        witness.wait_closed(&cookies(&accepted))?;
        witness.wait_closed(&cookies(&opened))
    }
}

/// SIGSTOP is not immediate: a process stops when it next returns to user space.
pub(crate) fn await_stopped(pid: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stopped = true;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = std::fs::read_to_string(task?.path().join("stat"))?;
            let (_, state) = stat.rsplit_once(") ").context("/proc/PID/task/TID/stat")?;
            stopped &= state.starts_with('T');
        }
        if stopped {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "process {pid} does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}
