//! What was observed, in user-space types. No I/O and no knowledge of the kernel's record format.

pub mod activity;
pub mod census;
pub mod doctor;
pub mod event;
pub mod leak;
pub mod probes;
pub mod scope;
pub mod stack;

use std::{collections::BTreeMap, fmt, net::IpAddr, num::NonZeroU64};

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

impl SocketId {
    /// Whether both may tell of one socket, where they tell of one address: of what has no cookie nobody can say that it is another.
    #[must_use]
    pub fn may_be(self, other: Self) -> bool {
        !matches!((self.cookie, other.cookie), (Some(one), Some(other)) if one != other)
    }
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
    /// Address; of a link-local one with its link, as [`scope`] says.
    pub addr: IpAddr,
    /// Port; 0 when unbound or without a peer.
    pub port: u16,
}

/// Name of a thread as its process set it: arbitrary bytes, never shown without escaping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// It held a descriptor when the tracer started, or, with filters by process, when that was found later; or, of a listener, when
    /// the owner before it was found to have exited. Who opened the socket is not known.
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

/// When a process began, nanoseconds of `CLOCK_BOOTTIME` as the kernel keeps it (`task_struct.start_boottime`). Tells it from an earlier
/// and a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessStart(pub NonZeroU64);

impl ProcessStart {
    /// That of the kernel, where 0 stands for none.
    #[must_use]
    pub fn from_ns(ns: u64) -> Option<Self> {
        NonZeroU64::new(ns).map(Self)
    }

    /// Nanoseconds; 0 for none.
    #[must_use]
    pub fn to_ns(start: Option<Self>) -> u64 {
        start.map_or(0, |Self(ns)| ns.get())
    }
}

/// A process. Its number alone is no identity: the kernel gives it to another one when this one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Process id (thread-group id), in the initial pid namespace.
    pub pid: u32,
    /// When it began; `None` in recordings that do not say.
    pub start: Option<ProcessStart>,
}

impl ProcessId {
    /// Whether both are one process, as far as is known: where a start is missing, the number has to do.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        self.pid == other.pid && (self.start == other.start || self.start.is_none() || other.start.is_none())
    }

    /// What is known of it. Of one number there is one process at a time.
    #[must_use]
    pub fn find<T>(self, known: &BTreeMap<Self, T>) -> Option<&T> {
        let of_number = known.range(Self { start: None, ..self }..).take_while(|(other, _)| other.pid == self.pid);
        of_number.into_iter().find(|&(&other, _)| other.is(self)).map(|(_, known)| known)
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
    /// When the process began.
    pub start: Option<ProcessStart>,
}

impl Owner {
    /// The process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        ProcessId { pid: self.pid, start: self.start }
    }
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

impl Dwell {
    /// The time in a state, unless it says nothing of what the state stands for.
    ///
    /// A handshake waits in a request socket, of which no transition tells. The socket that it becomes passes SYN_RECV while the
    /// last acknowledgement is looked at (`tcp_check_req()` and `tcp_child_process()`, `net/ipv4/tcp_minisocks.c`, Linux 6.18): its
    /// time there is no part of the handshake. Only what connects may stay there, when both ends connect at once.
    #[must_use]
    pub fn unless_meaningless(self, old: State, owner: Option<&Owner>) -> Self {
        let connected = owner.is_some_and(|owner| owner.source == OwnerSource::Connect);
        if old == State::Known(TcpState::SynRecv) && !connected { Self::Unknown } else { self }
    }
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

/// Transitions that the kernel ran no tracing program for: nobody knows how many there are, but what came after shows some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// At least so many.
    pub transitions: u64,
    /// Of so many sockets.
    pub sockets: u64,
}
