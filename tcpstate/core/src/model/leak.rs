//! What `tcpstate leaks` observes: events about sockets in CLOSE_WAIT, and snapshots of how things stand.

use std::{collections::BTreeMap, num::NonZeroU64};

use tcpstate_common::counters::Counters;

use super::{Comm, Endpoint, Family, MonotonicNs, Owner, ProcessId, ProcessStart, Protocol, SocketId, State};

/// A place in a program, as the kernel side tells places apart: process, instruction and return addresses on the stack.
/// Several ids may unwind to the same stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(pub u64);

/// A thread that did something to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the thread at that moment.
    pub comm: Comm,
    /// When the process began.
    pub start: Option<ProcessStart>,
}

impl Actor {
    /// The process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        ProcessId { pid: self.pid, start: self.start }
    }
}

/// What a socket is, apart from what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// Which socket.
    pub id: SocketId,
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
    /// User id of the socket's creator.
    pub uid: u32,
}

/// Something that happened to a socket that is, was or becomes one in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakEvent {
    /// The peer's FIN arrived: the socket entered CLOSE_WAIT.
    Entered {
        /// When.
        at: MonotonicNs,
        /// The socket.
        facts: SocketFacts,
        /// Who opened it, if that was seen; of a connection nobody has accepted yet the listener's owner.
        owner: Option<Owner>,
        /// Where it was opened (connect or accept), if that was seen.
        opened: Option<PlaceId>,
    },
    /// `accept()` returned a socket that was in CLOSE_WAIT already.
    Accepted {
        /// When.
        at: MonotonicNs,
        /// The socket.
        socket: SocketId,
        /// Who accepted it.
        owner: Owner,
        /// Where.
        opened: Option<PlaceId>,
    },
    /// A receive returned 0 to the program: it was told of the end. Sent once for each socket.
    EofRead {
        /// When.
        at: MonotonicNs,
        /// The socket.
        socket: SocketId,
        /// Who was told.
        by: Actor,
        /// Where.
        place: Option<PlaceId>,
    },
    /// The socket left CLOSE_WAIT: LAST_ACK by its own close, CLOSE by a reset, an abort or a close with unread data.
    Left {
        /// When.
        at: MonotonicNs,
        /// The socket.
        socket: SocketId,
        /// The state it entered.
        new: State,
        /// Who closed it late or shut it down, and where: only for LAST_ACK, which the kernel enters in the caller's context.
        closed: Option<(Actor, Option<PlaceId>)>,
    },
    /// `close()` took the socket from CLOSE_WAIT to LAST_ACK, its last descriptor with it: the same as [`LeakEvent::Left`] and
    /// [`LeakEvent::Destroyed`], in their place. Not where transitions are traced as well, or closing is asked for.
    Closed {
        /// When.
        at: MonotonicNs,
        /// The socket.
        socket: SocketId,
        /// Who closed it, and where, when it was late.
        by: Option<(Actor, Option<PlaceId>)>,
    },
    /// A thread ends the stay of the socket in CLOSE_WAIT, or its life after that. Comes before the event of its leaving or of its
    /// end, and only on request.
    Closing(Closing),
    /// The socket is gone, its descriptors included. Sent for sockets that have been in CLOSE_WAIT.
    Destroyed {
        /// When.
        at: MonotonicNs,
        /// The socket.
        socket: SocketId,
    },
}

/// A socket when a thread closes it or shuts it down, or exits as the last to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// When.
    pub at: MonotonicNs,
    /// The socket.
    pub facts: SocketFacts,
    /// Who does it.
    pub by: Actor,
    /// Where.
    pub place: Option<PlaceId>,
    /// Whether that thread exits, and nothing else closes the socket.
    pub exiting: bool,
    /// Who opened it, if that was seen.
    pub owner: Option<Owner>,
    /// Where it was opened, if that was seen.
    pub opened: Option<PlaceId>,
    /// Whether it was in CLOSE_WAIT until then; otherwise it had left it with its descriptor open.
    pub in_close_wait: bool,
    /// When it entered CLOSE_WAIT, if that was seen and it was in it until then.
    pub since: Option<MonotonicNs>,
    /// Whether a receive was seen to return 0.
    pub eof_read: bool,
    /// Its queues as the program left them; `None` when they could not be read.
    pub load: Option<SocketLoad>,
}

/// A descriptor that refers to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Descriptor.
    pub fd: u32,
}

/// Queues and timers of a socket, as the kernel has them (`struct tcp_sock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLoad {
    /// Bytes received and not read, as `ss` counts them: an unread FIN counts as one.
    pub recv_q: u32,
    /// Bytes sent or waiting to be sent and not acknowledged.
    pub send_q: u32,
    /// Milliseconds since data was received last (`tcpi_last_data_recv`): an upper bound of the time in CLOSE_WAIT. `u32::MAX` when
    /// it is longer ago.
    pub last_data_recv_ms: u32,
    /// Milliseconds since an acknowledgement was received last (`tcpi_last_ack_recv`): a lower bound of it.
    pub last_ack_recv_ms: u32,
    /// Milliseconds since data was sent last (`tcpi_last_data_sent`); where nothing was sent, since the connection was made.
    pub last_data_sent_ms: u32,
    /// How much has come and gone; `None` in a recording that does not have it.
    pub traffic: Option<Traffic>,
}

/// How much has come and gone on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received, read or not; the FIN counts as one (`tcpi_bytes_received`).
    pub received: u64,
    /// Bytes of data sent, those sent again included (`tcpi_bytes_sent`).
    pub sent: u64,
}

/// A socket in CLOSE_WAIT, or one that has been and whose descriptor is still open, as a snapshot found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSocket {
    /// What it is.
    pub facts: SocketFacts,
    /// Its state now.
    pub state: State,
    /// Who opened it, if known.
    pub owner: Option<Owner>,
    /// Where it was opened, if that was seen.
    pub opened: Option<PlaceId>,
    /// When it entered its state, if that was seen.
    pub since: Option<MonotonicNs>,
    /// Whether a receive was seen to return 0.
    pub eof_read: bool,
    /// Whether nobody has accepted it yet: no `struct socket`.
    pub unaccepted: bool,
    /// Its queues; `None` when they could not be read.
    pub load: Option<SocketLoad>,
    /// Every descriptor that refers to it, in order.
    pub holders: Vec<Holder>,
    /// The process of this host that has closed its own side of the connection only and has a descriptor to receive by: the
    /// peer, in FIN_WAIT2.
    pub awaited_by: Option<u32>,
}

/// What was found of a process that holds such sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHolder {
    /// Process id.
    pub pid: u32,
    /// Its name (that of its first thread).
    pub comm: Comm,
    /// Open descriptors.
    pub descriptors: u64,
    /// `RLIMIT_NOFILE`, soft; `None` when unlimited or not readable.
    pub descriptor_limit: Option<u64>,
}

/// A listening socket with connections that nobody has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundListener {
    /// What it is.
    pub facts: SocketFacts,
    /// Who listens: who called `listen()`, or holds the socket since that process has exited.
    pub owner: Option<Owner>,
    /// Every process with a descriptor of it, in order: any of them may accept.
    pub holders: Vec<u32>,
    /// Connections waiting to be accepted (`sk_ack_backlog`); 0 where they are not wanted.
    pub backlog: u32,
    /// Most that may wait (`sk_max_ack_backlog`).
    pub backlog_limit: u32,
    /// Connection requests dropped since it was made, mostly for want of room (`sk_drops`, as `ss -m` shows it).
    pub dropped: u32,
}

impl FoundListener {
    /// Whether connections with this local end come to it: to its port, and where it listens at one address only, to that.
    #[must_use]
    pub fn takes(&self, netns: u32, local: Endpoint) -> bool {
        let at = self.facts.local;
        (self.facts.netns, at.port) == (netns, local.port)
            && (at.addr.is_unspecified() || at.addr.to_canonical() == local.addr.to_canonical())
    }
}

/// How things stand at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Events of before this moment are contained in the snapshot; later ones are newer than it.
    pub taken: MonotonicNs,
    /// When the snapshot was complete: what happened between `taken` and this may or may not be in it.
    pub complete: MonotonicNs,
    /// Sockets in CLOSE_WAIT and ghost descriptors.
    pub sockets: Vec<FoundSocket>,
    /// Listeners with a backlog.
    pub listeners: Vec<FoundListener>,
    /// The processes that hold these sockets.
    pub processes: Vec<FoundHolder>,
    /// When the holders of all of these began, by their numbers.
    pub starts: BTreeMap<u32, ProcessStart>,
}

/// What could not be kept or taken, from the start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakLosses {
    /// Events that found the ring buffer full, or that the kernel ran no program for because that was being run on the same CPU.
    pub events: u64,
    /// Sockets whose story found no room in the map.
    pub map_full: u64,
    /// Stacks not taken because of the rate limit.
    pub stacks_skipped: u64,
    /// Stacks that found their buffer full.
    pub stacks_dropped: u64,
}

impl From<&Counters> for LeakLosses {
    fn from(counters: &Counters) -> Self {
        Self {
            events: counters.dropped,
            map_full: counters.map_full,
            stacks_skipped: counters.stacks_skipped,
            stacks_dropped: counters.stacks_dropped,
        }
    }
}
