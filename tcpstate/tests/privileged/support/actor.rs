//! The other side of [`super::process`]: a process that opens and closes sockets as it is told.
//!
//! It is this very binary, executed again, because a test binary with threads should not fork. Requests come on standard
//! input, replies leave on standard output; the end of standard input is the end of the actor.

use std::{
    collections::HashMap,
    ffi::CString,
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write},
    process,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    event::PollFlags,
    net::{self, Shutdown, sockopt},
    process::{Resource, Rlimit, Signal, WaitOptions, getrlimit, set_parent_process_death_signal, setrlimit},
    thread::{Uid, gettid, set_name, set_thread_res_uid},
};

use super::{
    clock, passing, programs,
    protocol::{Envelope, Failure, Outcome, Reply, Request, Span},
    sockets::{Sockets, await_events},
};

/// What is sent; nobody looks at it.
const SEND_CHUNK: [u8; 4096] = [b'x'; 4096];

/// Runs the actor until its input ends. `arguments` are its name and, unless it is to stay root, its user id.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [name, user @ ..] = arguments else { anyhow::bail!("no name") };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    if let [user] = user {
        let user = Uid::from_raw(user.parse()?);
        set_thread_res_uid(user, user, user)?;
        // The change of user cleared it.
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    set_name(&CString::new(name.as_str())?)?;
    let mut actor = Actor::default();
    let mut input: Box<dyn BufRead> = Box::new(io::stdin().lock());
    while let Some(envelope) = next(&mut input)? {
        if let Some(inherited) = actor.dispatch(envelope)? {
            // This is the child now: a process of its own with its own input.
            input = Box::new(BufReader::new(inherited));
        }
    }
    Ok(())
}

fn next(input: &mut impl BufRead) -> anyhow::Result<Option<Envelope>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

#[derive(Default)]
struct Actor {
    sockets: Sockets,
    threads: HashMap<u8, mpsc::Sender<(u64, Request)>>,
    children: Vec<PipeWriter>,
}

impl Actor {
    /// Returns the input to go on with where this process is a newly forked child.
    fn dispatch(&mut self, mut envelope: Envelope) -> anyhow::Result<Option<PipeReader>> {
        if !envelope.lineage.is_empty() {
            let child = envelope.lineage.remove(0);
            let mut line = serde_json::to_vec(&envelope)?;
            line.push(b'\n');
            self.children[child].write_all(&line)?;
        } else if envelope.thread != 0 {
            let sockets = &self.sockets;
            let thread = self.threads.entry(envelope.thread).or_insert_with(|| start_thread(sockets.clone()));
            thread.send((envelope.id, envelope.request))?;
        } else if let Request::Fork { pid } = envelope.request {
            return self.fork(envelope.id, pid);
        } else {
            answer(&self.sockets, envelope.id, envelope.request)?;
        }
        Ok(None)
    }

    fn fork(&mut self, id: u64, pid: Option<u32>) -> anyhow::Result<Option<PipeReader>> {
        anyhow::ensure!(self.threads.is_empty(), "an actor with threads does not fork");
        let from_ns = clock::monotonic_ns();
        let (reader, writer) = io::pipe()?;
        // SAFETY: this process has one thread, so the child finds no lock held and no state half changed.
        match unsafe { pid.map_or_else(|| libc::fork(), |pid| fork_as(pid)) } {
            -1 => anyhow::bail!("fork: {}", io::Error::last_os_error()),
            0 => {
                // Ends when nobody can write to its input any more, which lets it outlive its parent for one request.
                self.children.clear();
                Ok(Some(reader))
            }
            child => {
                self.children.push(writer);
                let outcome = Ok(Outcome::Child { pid: child.cast_unsigned() });
                send(&Reply { id, tid: own_tid(), span: Span { from_ns, to_ns: clock::monotonic_ns() }, outcome })?;
                Ok(None)
            }
        }
    }
}

/// `fork()` of a child with a number of one's choice.
///
/// # Safety
///
/// As of `fork()`: this process has one thread.
unsafe fn fork_as(pid: u32) -> libc::pid_t {
    let wanted = pid.cast_signed();
    // SAFETY: zeros are a valid `struct clone_args`, and `set_tid` outlives the call.
    unsafe {
        let mut clone: libc::clone_args = std::mem::zeroed();
        clone.exit_signal = libc::SIGCHLD as u64;
        clone.set_tid = (&raw const wanted) as u64;
        clone.set_tid_size = 1;
        libc::syscall(libc::SYS_clone3, &raw mut clone, size_of::<libc::clone_args>()) as libc::pid_t
    }
}

fn start_thread(sockets: Sockets) -> mpsc::Sender<(u64, Request)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for (id, request) in receiver {
            if let Err(error) = answer(&sockets, id, request) {
                eprintln!("actor: {error:#}");
                process::exit(1);
            }
        }
    });
    sender
}

fn answer(sockets: &Sockets, id: u64, request: Request) -> anyhow::Result<()> {
    let from_ns = clock::monotonic_ns();
    let outcome = carry_out(sockets, request);
    let span = Span { from_ns, to_ns: clock::monotonic_ns() };
    send(&Reply { id, tid: own_tid(), span, outcome })
}

/// One `write()` for a whole line: up to `PIPE_BUF` bytes it does not mix with what a forked child writes.
fn send(reply: &Reply) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    Ok(output.flush()?)
}

pub(crate) fn own_tid() -> u32 {
    gettid().as_raw_nonzero().get().cast_unsigned()
}

fn carry_out(sockets: &Sockets, request: Request) -> Result<Outcome, Failure> {
    match request {
        Request::Listen { at, transport, backlog, share_port } => {
            Ok(Outcome::Sockets(vec![sockets.listen(at, transport, backlog, share_port)?]))
        }
        Request::Connect { from, to, transport, count } => {
            let opened = (0..count).map(|_| sockets.connect(from, to, transport));
            Ok(Outcome::Sockets(opened.collect::<Result<_, _>>()?))
        }
        Request::Accept { listener, call, count } => {
            let accepted = (0..count).map(|_| sockets.accept(listener, call));
            Ok(Outcome::Sockets(accepted.collect::<Result<_, _>>()?))
        }
        Request::TakePassed { from } => Ok(Outcome::Sockets(vec![sockets.take_passed(&from)?])),
        Request::Reconnect { fd, to } => Ok(Outcome::Sockets(vec![sockets.connect_existing(&sockets.get(fd)?, to)?])),
        Request::HoldCloseWait { listeners, hold_ms, per_listener } => {
            Ok(Outcome::Held(programs::hold_close_wait(sockets, &listeners, &hold_ms, per_listener)?))
        }
        Request::AcceptAndCloseByThreads { listener, count } => {
            Ok(Outcome::Sockets(programs::accept_and_close_by_threads(sockets, listener, count)?))
        }
        plain => act(sockets, plain).map(|()| Outcome::Done),
    }
}

/// The requests whose outcome is that they succeeded.
fn act(sockets: &Sockets, request: Request) -> Result<(), Failure> {
    match request {
        Request::Close { fds } => fds.into_iter().try_for_each(|fd| sockets.close(fd)),
        Request::Pass { fd, to } => passing::pass(&to, sockets.get(fd)?),
        Request::CloseRange { fd } => sockets.close_range(fd),
        Request::Replace { fd } => sockets.replace(fd),
        Request::ShutdownWrite { fd } => Ok(net::shutdown(sockets.get(fd)?, Shutdown::Write)?),
        Request::ShutdownBoth { fd } => Ok(net::shutdown(sockets.get(fd)?, Shutdown::Both)?),
        Request::LingerZero { fd } => Ok(sockopt::set_socket_linger(sockets.get(fd)?, Some(Duration::ZERO))?),
        Request::Disconnect { fd } => Ok(net::connect_unspec(sockets.get(fd)?)?),
        Request::Send { fd, bytes } => {
            let fd = sockets.get(fd)?;
            let mut left = bytes;
            while left > 0 {
                left -= net::send(&fd, &SEND_CHUNK[..left.min(SEND_CHUNK.len())], net::SendFlags::NOSIGNAL)?;
            }
            Ok(())
        }
        Request::Receive { fd, bytes } => {
            let received = sockets.recv(fd, SEND_CHUNK.len())?;
            if received == bytes { Ok(()) } else { Err(Failure::new(format!("{received} bytes instead of {bytes}"))) }
        }
        Request::AwaitHangup { fd } => await_events(sockets.get(fd)?, PollFlags::RDHUP),
        Request::AwaitReadable { fd } => await_events(sockets.get(fd)?, PollFlags::IN),
        Request::CloseAfterHangup { fd } => {
            await_events(sockets.get(fd)?, PollFlags::RDHUP)?;
            sockets.close(fd)
        }
        Request::SetName { name } => {
            let name = CString::new(name).map_err(|error| Failure::new(error.to_string()))?;
            Ok(set_name(&name)?)
        }
        Request::Reap { pid } => {
            rustix::process::waitpid(rustix::process::Pid::from_raw(pid.cast_signed()), WaitOptions::empty())?;
            Ok(())
        }
        Request::Sleep { ms } => {
            thread::sleep(Duration::from_millis(ms));
            Ok(())
        }
        Request::Exit => process::exit(0),
        other => Err(Failure::new(format!("{other:?} is not carried out here"))),
    }
}
