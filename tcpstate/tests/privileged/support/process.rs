//! Actors, as a test sees them: typed requests with deadlines.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    event::Owner,
    launch::Launch,
    protocol::{AcceptCall, Envelope, Held, Outcome, Reply, Request, Socket, Span, Transport},
};

/// Longer than an actor's own patience, so that its error arrives first.
const PATIENCE: Duration = Duration::from_secs(15);

/// A process (or one of its children, or one of its threads) that does what it is told.
#[derive(Clone)]
pub(crate) struct Actor {
    process: Arc<Process>,
    lineage: Vec<usize>,
    children: Arc<Mutex<usize>>,
    thread: u8,
    /// Process id.
    pub(crate) pid: u32,
    /// Name of its threads until [`Actor::set_name`].
    pub(crate) comm: String,
    /// User id of its sockets.
    pub(crate) uid: u32,
}

struct Process {
    child: Mutex<Child>,
    input: Mutex<ChildStdin>,
    next_id: AtomicU64,
    replies: Arc<(Mutex<Replies>, Condvar)>,
}

#[derive(Default)]
struct Replies {
    waiting: HashMap<u64, Reply>,
    ended: bool,
}

/// A reply that will come.
#[must_use]
pub(crate) struct Ticket {
    process: Arc<Process>,
    id: u64,
    what: String,
}

impl Actor {
    /// Starts an actor as root in the network namespace of the test.
    pub(crate) fn start(comm: &str) -> Result<Self> {
        Self::launch(comm, &Launch::default())
    }

    pub(crate) fn launch(comm: &str, launch: &Launch) -> Result<Self> {
        Self::spawn(comm, 0, launch)
    }

    /// Starts an actor of another user.
    pub(crate) fn of_user(comm: &str, uid: u32) -> Result<Self> {
        Self::spawn(comm, uid, &Launch::default())
    }

    fn spawn(comm: &str, uid: u32, launch: &Launch) -> Result<Self> {
        let mut command = launch.command(program()?)?;
        command.args(["actor", comm]);
        if uid != 0 {
            command.arg(uid.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("actor")?;
        let input = child.stdin.take().context("stdin of an actor")?;
        let output = child.stdout.take().context("stdout of an actor")?;
        let pid = child.id();
        let replies = Arc::new((Mutex::default(), Condvar::new()));
        let collected = Arc::clone(&replies);
        thread::spawn(move || collect(output, &collected));
        let process =
            Process { child: Mutex::new(child), input: Mutex::new(input), next_id: AtomicU64::new(0), replies };
        let actor = Self {
            process: Arc::new(process),
            lineage: Vec::new(),
            children: Arc::default(),
            thread: 0,
            pid,
            comm: comm.to_owned(),
            uid,
        };
        // Its answer shows that it has become what it was launched as.
        actor.call(Request::Close { fds: Vec::new() })?;
        Ok(actor)
    }

    /// The same process, another thread of it.
    pub(crate) fn thread(&self, number: u8) -> Self {
        Self { thread: number, ..self.clone() }
    }

    /// Forks; returns the child.
    pub(crate) fn fork(&self) -> Result<Self> {
        self.fork_with(None)
    }

    /// The same with a number that was another process's.
    pub(crate) fn fork_as(&self, pid: u32) -> Result<Self> {
        self.fork_with(Some(pid))
    }

    fn fork_with(&self, pid: Option<u32>) -> Result<Self> {
        let Outcome::Child { pid } = self.call(Request::Fork { pid })?.1 else { bail!("no child") };
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let lineage = self.lineage.iter().copied().chain([*children]).collect();
        *children += 1;
        let child = Self { lineage, children: Arc::default(), pid, ..self.clone() };
        Ok(child)
    }

    /// What the tracer has to say of a socket that this actor opened.
    pub(crate) fn owner(&self, socket: &Socket, via: &str) -> Owner {
        Owner { pid: self.pid, tid: socket.tid, comm: self.comm.clone(), via: via.to_owned() }
    }

    /// Inode of its network namespace.
    pub(crate) fn netns(&self) -> Result<u64> {
        Ok(fs::metadata(self.netns_path())?.ino())
    }

    pub(crate) fn netns_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// Listens with TCP and room for every connection of a test.
    pub(crate) fn listen(&self, at: impl Into<SocketAddr>) -> Result<Socket> {
        self.listen_with(at, Transport::Tcp, false)
    }

    pub(crate) fn listen_with(
        &self,
        at: impl Into<SocketAddr>,
        transport: Transport,
        share_port: bool,
    ) -> Result<Socket> {
        self.one(Request::Listen { at: at.into(), transport, backlog: 4096, share_port })
    }

    pub(crate) fn connect(&self, to: SocketAddr) -> Result<Socket> {
        self.connected(Request::Connect { from: None, to, transport: Transport::Tcp, count: 1 })
    }

    pub(crate) fn connect_from(&self, from: SocketAddr, to: SocketAddr) -> Result<Socket> {
        self.connected(Request::Connect { from: Some(from), to, transport: Transport::Tcp, count: 1 })
    }

    pub(crate) fn connect_with(&self, transport: Transport, to: SocketAddr) -> Result<Socket> {
        self.connected(Request::Connect { from: None, to, transport, count: 1 })
    }

    pub(crate) fn connect_many(&self, to: SocketAddr, count: usize) -> Result<Vec<Socket>> {
        let sockets = self.many(Request::Connect { from: None, to, transport: Transport::Tcp, count })?;
        ensure!(sockets.iter().all(|socket| socket.errno.is_none()), "not every connect() succeeded");
        Ok(sockets)
    }

    /// A `connect()` that has to fail with `errno`.
    pub(crate) fn connect_failing(&self, from: Option<SocketAddr>, to: SocketAddr, errno: i32) -> Result<Socket> {
        let socket = self.one(Request::Connect { from, to, transport: Transport::Tcp, count: 1 })?;
        ensure!(socket.errno == Some(errno), "connect() to {to}: {:?} instead of {errno}", socket.errno);
        Ok(socket)
    }

    pub(crate) fn reconnect(&self, socket: &Socket, to: SocketAddr) -> Result<Socket> {
        self.connected(Request::Reconnect { fd: socket.fd, to })
    }

    pub(crate) fn accept(&self, listener: &Socket) -> Result<Socket> {
        self.accept_by(AcceptCall::Accept4, listener)
    }

    pub(crate) fn accept_by(&self, call: AcceptCall, listener: &Socket) -> Result<Socket> {
        self.one(Request::Accept { listener: listener.fd, call, count: 1 })
    }

    pub(crate) fn accept_many(&self, listener: &Socket, count: usize) -> Result<Vec<Socket>> {
        self.many(Request::Accept { listener: listener.fd, call: AcceptCall::Accept4, count })
    }

    /// Passes a socket on to another actor and closes its own descriptor; returns the socket as the other one has it.
    pub(crate) fn hand_over(&self, socket: &Socket, to: &Self) -> Result<Socket> {
        let name = format!("ts-passed-{}-{}", process::id(), to.pid);
        let taken = to.submit(Request::TakePassed { from: name.clone() })?;
        self.done(Request::Pass { fd: socket.fd, to: name })?;
        let [passed] = &taken.sockets()?[..] else { bail!("not one socket was passed on") };
        ensure!(passed.cookie == socket.cookie, "another socket was passed on: {passed:?}");
        self.close(socket)?;
        Ok(passed.clone())
    }

    pub(crate) fn close(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::Close { fds: vec![socket.fd] })
    }

    pub(crate) fn close_many(&self, sockets: &[Socket]) -> Result<Span> {
        self.done(Request::Close { fds: sockets.iter().map(|socket| socket.fd).collect() })
    }

    pub(crate) fn close_range(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::CloseRange { fd: socket.fd })
    }

    /// Closes by `dup2()` of something else over it.
    pub(crate) fn replace(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::Replace { fd: socket.fd })
    }

    pub(crate) fn shutdown_both(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::ShutdownBoth { fd: socket.fd })
    }

    pub(crate) fn shutdown_write(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::ShutdownWrite { fd: socket.fd })
    }

    /// Closes with `SO_LINGER` of zero seconds.
    pub(crate) fn reset(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::LingerZero { fd: socket.fd })?;
        self.close(socket)
    }

    pub(crate) fn disconnect(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::Disconnect { fd: socket.fd })
    }

    pub(crate) fn send(&self, socket: &Socket, bytes: usize) -> Result<Span> {
        self.done(Request::Send { fd: socket.fd, bytes })
    }

    /// One receive that has to return so many bytes.
    pub(crate) fn receive(&self, socket: &Socket, bytes: usize) -> Result<Span> {
        self.done(Request::Receive { fd: socket.fd, bytes })
    }

    pub(crate) fn await_hangup(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::AwaitHangup { fd: socket.fd })
    }

    pub(crate) fn await_readable(&self, socket: &Socket) -> Result<Span> {
        self.done(Request::AwaitReadable { fd: socket.fd })
    }

    pub(crate) fn set_name(&self, name: &[u8]) -> Result<Span> {
        self.done(Request::SetName { name: name.to_vec() })
    }

    pub(crate) fn hold_close_wait(
        &self,
        listeners: &[Socket],
        hold_ms: &[u64],
        per_listener: usize,
    ) -> Result<Vec<Held>> {
        let listeners = listeners.iter().map(|socket| socket.fd).collect();
        match self.call(Request::HoldCloseWait { listeners, hold_ms: hold_ms.to_vec(), per_listener })?.1 {
            Outcome::Held(held) => Ok(held),
            other => Err(anyhow!("an actor answered {other:?}")),
        }
    }

    /// Makes this process (a child, when it is one) exit by itself; it has when this returns.
    pub(crate) fn exit(&self) -> Result<()> {
        drop(self.submit(Request::Exit)?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Behind the name in parentheses; nobody has reaped it yet.
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
            if stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}[{}] did not exit", self.comm, self.pid);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of a child, after which its number is free.
    pub(crate) fn reap(&self, child: &Self) -> Result<Span> {
        self.done(Request::Reap { pid: child.pid })
    }

    /// Sends a request without waiting for what comes of it.
    pub(crate) fn submit(&self, request: Request) -> Result<Ticket> {
        let id = self.process.next_id.fetch_add(1, Ordering::Relaxed);
        let what = format!("{}[{}]: {request:?}", self.comm, self.pid);
        let envelope = Envelope { id, lineage: self.lineage.clone(), thread: self.thread, request };
        let mut line = serde_json::to_vec(&envelope)?;
        line.push(b'\n');
        let mut input = self.process.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.write_all(&line).with_context(|| what.clone())?;
        Ok(Ticket { process: Arc::clone(&self.process), id, what })
    }

    fn call(&self, request: Request) -> Result<(Span, Outcome)> {
        self.submit(request)?.wait()
    }

    fn done(&self, request: Request) -> Result<Span> {
        Ok(self.call(request)?.0)
    }

    fn many(&self, request: Request) -> Result<Vec<Socket>> {
        self.submit(request)?.sockets()
    }

    fn one(&self, request: Request) -> Result<Socket> {
        self.many(request)?.pop().context("no socket")
    }

    fn connected(&self, request: Request) -> Result<Socket> {
        let socket = self.one(request)?;
        ensure!(socket.errno.is_none(), "connect() from {} failed with errno {:?}", socket.local, socket.errno);
        Ok(socket)
    }
}

impl Ticket {
    pub(crate) fn wait(self) -> Result<(Span, Outcome)> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.process.replies;
        let mut replies = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reply) = replies.waiting.remove(&self.id) {
                let outcome = reply.outcome.map_err(|failure| anyhow!("{}: {}", self.what, failure.message))?;
                return Ok((reply.span, outcome));
            }
            ensure!(!replies.ended, "{}: the actor is gone", self.what);
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{}: no answer in {PATIENCE:?}", self.what);
            replies = changed.wait_timeout(replies, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn sockets(self) -> Result<Vec<Socket>> {
        match self.wait()?.1 {
            Outcome::Sockets(sockets) => Ok(sockets),
            other => Err(anyhow!("an actor answered {other:?}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Children of the actor end with it; an actor that has exited already is only reaped.
        drop(child.kill());
        drop(child.wait());
    }
}

/// This very binary without its debug info, in which a debug build of the tracer takes seconds to find a name. `cargo xtask test`
/// builds it without any, and it is run as it is where there are no tools to take it out: in guests.
fn program() -> Result<&'static Path> {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = STRIPPED.get() {
        return Ok(path);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("actor");
    let unfinished = path.with_extension(process::id().to_string());
    let status = Command::new("objcopy").arg("--strip-debug").arg(env::current_exe()?).arg(&unfinished).status();
    match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let path = env::current_exe()?;
            return Ok(STRIPPED.get_or_init(|| path));
        }
        status => ensure!(status.as_ref().is_ok_and(ExitStatus::success), "`objcopy` of binutils: {status:?}"),
    }
    // Another run may be executing the one of before.
    fs::rename(&unfinished, &path)?;
    Ok(STRIPPED.get_or_init(|| path))
}

fn collect(output: ChildStdout, replies: &(Mutex<Replies>, Condvar)) {
    let (lock, changed) = replies;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match serde_json::from_str::<Reply>(&line) {
            Ok(reply) => {
                lock.lock().unwrap_or_else(PoisonError::into_inner).waiting.insert(reply.id, reply);
            }
            Err(error) => eprintln!("unreadable answer of an actor, {error}: {line}"),
        }
        changed.notify_all();
    }
    lock.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    changed.notify_all();
}
