//! What a test says to an actor and what the actor answers, one JSON object a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A request on its way to the thread of the process that is to carry it out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// Echoed by the [`Reply`].
    pub(crate) id: u64,
    /// Which child, of which child…: empty for the actor itself.
    pub(crate) lineage: Vec<usize>,
    /// 0 is the main thread; others are started when first named.
    pub(crate) thread: u8,
    pub(crate) request: Request,
}

/// What an actor can do. Descriptors are the actor's own numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Listen {
        at: SocketAddr,
        transport: Transport,
        backlog: i32,
        share_port: bool,
    },
    /// Opens `count` connections; the cookie is read after `connect()`, so that the tracer is the first to ask for one.
    Connect {
        from: Option<SocketAddr>,
        to: SocketAddr,
        transport: Transport,
        count: usize,
    },
    Accept {
        listener: i32,
        call: AcceptCall,
        count: usize,
    },
    Close {
        fds: Vec<i32>,
    },
    /// Passes a descriptor on over a UNIX socket of this name.
    Pass {
        fd: i32,
        to: String,
    },
    /// Waits for what is passed on by that name.
    TakePassed {
        from: String,
    },
    /// Closes by `close_range()`.
    CloseRange {
        fd: i32,
    },
    /// Closes by `dup2()` of something else over it.
    Replace {
        fd: i32,
    },
    /// `shutdown(SHUT_WR)`.
    ShutdownWrite {
        fd: i32,
    },
    /// `shutdown(SHUT_RDWR)`.
    ShutdownBoth {
        fd: i32,
    },
    /// `SO_LINGER` with zero seconds: the next close is a reset.
    LingerZero {
        fd: i32,
    },
    /// `connect(AF_UNSPEC)`.
    Disconnect {
        fd: i32,
    },
    /// `connect()` of a socket that exists already.
    Reconnect {
        fd: i32,
        to: SocketAddr,
    },
    Send {
        fd: i32,
        bytes: usize,
    },
    /// One receive of at most so many bytes that has to return exactly `bytes`; 0 is the end of file.
    Receive {
        fd: i32,
        bytes: usize,
    },
    /// Waits for `POLLRDHUP`, `POLLERR` or `POLLHUP`: the peer has ended the connection.
    AwaitHangup {
        fd: i32,
    },
    AwaitReadable {
        fd: i32,
    },
    /// Waits as above, then closes.
    CloseAfterHangup {
        fd: i32,
    },
    /// Names the calling thread (`PR_SET_NAME`).
    SetName {
        name: Vec<u8>,
    },
    /// Forks; the child carries out what is addressed to its lineage. With a number the child gets that one, which has to be free.
    Fork {
        pid: Option<u32>,
    },
    /// Waits until a child has exited, so that its number is free.
    Reap {
        pid: u32,
    },
    /// Does nothing else, also when who would have something to do has gone.
    Sleep {
        ms: u64,
    },
    /// See [`Held`].
    HoldCloseWait {
        listeners: Vec<i32>,
        hold_ms: Vec<u64>,
        per_listener: usize,
    },
    /// Two threads and a queue: one accepts, the other closes what it is handed.
    AcceptAndCloseByThreads {
        listener: i32,
        count: usize,
    },
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transport {
    Tcp,
    Mptcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AcceptCall {
    Accept,
    Accept4,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    /// Thread that did it.
    pub(crate) tid: u32,
    /// `CLOCK_MONOTONIC` before and after.
    pub(crate) span: Span,
    pub(crate) outcome: Result<Outcome, Failure>,
}

/// A stretch of `CLOCK_MONOTONIC`, nanoseconds, in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
}

impl Span {
    pub(crate) fn contains(self, moment_ns: u64) -> bool {
        (self.from_ns..=self.to_ns).contains(&moment_ns)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Done,
    Sockets(Vec<Socket>),
    Child { pid: u32 },
    Held(Vec<Held>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) errno: Option<i32>,
    pub(crate) message: String,
}

/// A socket as the kernel describes it to its own process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) fd: i32,
    /// `SO_COOKIE`.
    pub(crate) cookie: u64,
    /// `getsockname()`.
    pub(crate) local: SocketAddr,
    /// `getpeername()`; `None` for a listener and for a connection that is over.
    pub(crate) remote: Option<SocketAddr>,
    /// Thread that opened it.
    pub(crate) tid: u32,
    /// Around `listen()`, `connect()` or `accept()`.
    pub(crate) opened: Span,
    /// Why `connect()` failed.
    pub(crate) errno: Option<i32>,
}

/// A connection whose peer closed and that its own program then held in `CLOSE_WAIT`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    /// `SO_COOKIE` of the socket that was held.
    pub(crate) cookie: u64,
    /// Index of the listener and of the time to hold.
    pub(crate) group: usize,
    /// From before the peer's `close()` to after `POLLRDHUP` was seen: the FIN arrived within.
    pub(crate) fin: Span,
    /// Around the program's own `close()`.
    pub(crate) close: Span,
}

impl Held {
    /// What the program itself would say: FIN seen to about to close.
    pub(crate) fn own_measure_ns(&self) -> u64 {
        self.close.from_ns - self.fin.to_ns
    }
}
