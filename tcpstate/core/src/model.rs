//! What was observed, in user-space types. No I/O and no knowledge of the kernel's record format.

pub mod census;
pub mod doctor;
pub mod event;
pub mod leak;
pub mod probes;
pub mod stack;

use std::{fmt, net::IpAddr, num::NonZeroU64};

use tcpstate_common::{COMM_LEN, state::TcpState};

/// A moment on `CLOCK_MONOTONIC`, nanoseconds: the clock of `bpf_ktime_get_ns()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicNs(pub u64);

/// Identity of a socket. The kernel reuses addresses within microseconds, so the cookie is the identity where it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// `SO_COOKIE`; `None` while the socket has none of its own.
    pub cookie: Option<NonZeroU64>,
    /// Address of the `struct sock`.
    pub skaddr: u64,
}

/// A TCP state, or the number of one that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// A state by its name.
    Known(TcpState),
    /// A number outside of the kernel's list as known here.
    Unknown(u8),
}

impl From<u8> for State {
    fn from(number: u8) -> Self {
        TcpState::try_from(number).map_or_else(Self::Unknown, Self::Known)
    }
}

impl From<State> for u8 {
    fn from(state: State) -> Self {
        match state {
            State::Known(state) => state as Self,
            State::Unknown(number) => number,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(state) => f.pad(state.name()),
            Self::Unknown(number) => fmt::Display::fmt(number, f),
        }
    }
}

/// Address family of the socket; an IPv6 socket may carry v4-mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
}

/// Protocol of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `IPPROTO_TCP`: plain TCP, or one subflow of a Multipath TCP connection.
    Tcp,
    /// `IPPROTO_MPTCP`: the parent of the subflows.
    Mptcp,
    /// Anything else, by its number.
    Other(u16),
}

/// One end of a connection. The address is `::ffff:a.b.c.d` only where the socket is an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address.
    pub addr: IpAddr,
    /// Port; 0 when unbound or without a peer.
    pub port: u16,
}

/// Name of a thread as its process set it: arbitrary bytes, never shown without escaping.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Comm(pub [u8; COMM_LEN]);

impl Comm {
    /// The bytes before the terminating NUL.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(COMM_LEN);
        &self.0[..end]
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

/// How the owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerSource {
    /// It called `connect()`.
    Connect,
    /// `accept()` returned the socket to it.
    Accept,
    /// It called `listen()`: on this socket, or on the one whose backlog holds this connection.
    Listen,
    /// It held a descriptor when the tracer started.
    Snapshot,
}

impl OwnerSource {
    /// The word for it in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Listen => "listen",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The process that opened a socket. Ids are those of the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Process id (thread-group id).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the thread when it opened the socket.
    pub comm: Comm,
    /// How this is known.
    pub source: OwnerSource,
}

/// Time spent in a state, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dwell {
    /// Both ends were seen.
    Exact(u64),
    /// The tracer came after the start.
    AtLeast(u64),
    /// Nothing is known.
    Unknown,
}

/// Time in a state, or since something began, nanoseconds. Both are the same when the beginning was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Not less than this.
    pub at_least_ns: u64,
    /// Not more than this; `None` when nothing is known.
    pub at_most_ns: Option<u64>,
}

impl Age {
    /// Whether it is known exactly.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.at_most_ns == Some(self.at_least_ns)
    }
}

/// One TCP state transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: MonotonicNs,
    /// Which socket.
    pub socket: SocketId,
    /// Identity of the socket within this trace, also before it has a cookie; `None` when its story is not kept.
    pub id: Option<NonZeroU64>,
    /// State before.
    pub old: State,
    /// State after.
    pub new: State,
    /// Time spent in the state before.
    pub in_old: Dwell,
    /// Who opened the socket; `None` when that was not observed.
    pub owner: Option<Owner>,
    /// Address family.
    pub family: Family,
    /// Protocol.
    pub protocol: Protocol,
    /// Local end.
    pub local: Endpoint,
    /// Remote end.
    pub remote: Endpoint,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Id of the socket's cgroup v2; `None` when the kernel does not keep it.
    pub cgroup: Option<NonZeroU64>,
    /// User id of the socket's creator, in the initial user namespace.
    pub uid: u32,
}

/// What the kernel side counted until now, all CPUs together, and how much of it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transitions that passed the filters.
    pub transitions: u64,
    /// Of these, those decoded in user space.
    pub seen: u64,
    /// Of these, those that found the ring buffer full.
    pub lost: u64,
    /// Transitions that a filter rejected.
    pub filtered: u64,
    /// Sockets whose story could not be kept because the map was full.
    pub map_full: u64,
    /// Transitions with an unknown state number.
    pub unknown_state: u64,
}
