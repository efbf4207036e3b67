//! Why a socket is in CLOSE_WAIT: a pure function of what was observed of it.

use std::time::Duration;

/// Data that was sent less than this ago, after the end of file, shows a half-close in use.
const SENDING: Duration = Duration::from_secs(5);
/// Progress so long ago is recent: a send queue without any for longer is stuck.
const RECENT: Duration = Duration::from_secs(1);

/// A peer that waits, and to which nothing has been sent for longer since its end, is being served no more: what stands between
/// servers and their clients gives up then (`proxy_read_timeout` of nginx, idle time-outs of load balancers).
const SERVED: Duration = Duration::from_secs(60);

/// Why a socket is in CLOSE_WAIT, or still has a descriptor after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The peer gave up while the connection waited in the accept backlog.
    NeverAccepted,
    /// The program has not read to the end.
    EofUnread,
    /// The program was told of the end by a receive that returned 0.
    EofRead,
    /// The receive queue is drained, but no receive was seen to return 0.
    FinConsumed,
    /// The process that opened it has closed its descriptor; another process still holds one.
    HeldElsewhere,
    /// A half-close in use: data is still being sent, or the peer has closed its own side only and waits. Not a leak.
    Sending,
    /// Data waits in the send queue and does not move.
    BlockedInSend,
    /// It left CLOSE_WAIT without a close: invisible to `ss`, but the descriptor is still open.
    GhostFd,
    /// A bounded set of idle client connections, not growing. A guess.
    Pool,
    /// What was observed does not suffice.
    Unknown,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 10] = [
        Self::NeverAccepted,
        Self::EofUnread,
        Self::EofRead,
        Self::FinConsumed,
        Self::HeldElsewhere,
        Self::Sending,
        Self::BlockedInSend,
        Self::GhostFd,
        Self::Pool,
        Self::Unknown,
    ];

    /// The name that is shown, such as `eof-unread`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverAccepted => "never-accepted",
            Self::EofUnread => "eof-unread",
            Self::EofRead => "eof-read",
            Self::FinConsumed => "fin-consumed",
            Self::HeldElsewhere => "held-elsewhere",
            Self::Sending => "sending",
            Self::BlockedInSend => "blocked-in-send",
            Self::GhostFd => "ghost-fd",
            Self::Pool => "pool",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is concluded from a pattern and not from what was seen of each socket.
    #[must_use]
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::Pool)
    }

    /// Whether sockets of this verdict are counted as leaks.
    #[must_use]
    pub const fn is_leak(self) -> bool {
        !matches!(self, Self::Sending)
    }

    /// Whether the threads of the process, where they sleep, show what keeps it from reading or closing.
    #[must_use]
    pub const fn wants_threads(self) -> bool {
        matches!(self, Self::NeverAccepted | Self::EofUnread | Self::BlockedInSend | Self::HeldElsewhere)
    }
}

/// Who holds descriptors of a socket, compared with who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Nobody has looked since it was seen first.
    Unknown,
    /// No process has a descriptor: in flight over a UNIX socket, or registered with `io_uring`.
    Nobody,
    /// The process that opened it does, or nobody knows who opened it.
    Owner,
    /// Only other processes do.
    Others {
        /// Whether one of them was told of the end, and so works with the socket.
        told: bool,
    },
}

/// Whether data was sent after the peer's FIN had arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAfterEnd {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// The moment of the FIN is not known well enough.
    Maybe,
}

/// Queues of a socket when they were read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Bytes not read, an unread FIN counted as one.
    pub recv_q: u32,
    /// Bytes not acknowledged.
    pub send_q: u32,
    /// Whether the send queue differed between the last two readings; `None` when there was only one.
    pub moved: Option<bool>,
    /// How long ago data was sent, nanoseconds.
    pub sent_ago_ns: u64,
    /// How long ago an acknowledgement came, nanoseconds.
    pub acked_ago_ns: u64,
    /// Whether that data was sent after the end of file.
    pub sent_after_end: SentAfterEnd,
}

/// What was observed of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// It left CLOSE_WAIT, and a descriptor is still open.
    pub ghost: bool,
    /// It waits in the backlog of its listener.
    pub unaccepted: bool,
    /// Who holds it.
    pub holding: Holding,
    /// A receive returned 0.
    pub eof_read: bool,
    /// Its queues; `None` when nobody has looked yet.
    pub queues: Option<Queues>,
    /// Whether the receive queue was looked at after the receive that returned 0. Counts only with both.
    pub queues_after_eof_read: bool,
    /// When the peer is a process of this host that has closed its own side only and still has a descriptor: how long that
    /// has waited without anything being sent, nanoseconds; no longer than the truth.
    pub awaited_ns: Option<u64>,
    /// Whether an empty receive queue tells of the FIN: not that of Multipath TCP, whose end is never in it.
    pub recv_q_tells: bool,
    /// Whether a thread of a holder is asleep in a send; `None` when nobody has looked.
    pub asleep_in_send: Option<bool>,
}

/// The verdict on one socket. [`Verdict::Pool`] is never among them: it is about a set of sockets.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    if evidence.ghost {
        return Verdict::GhostFd;
    }
    if evidence.unaccepted {
        return Verdict::NeverAccepted;
    }
    let send = evidence.queues.as_ref().map_or(SendState::Idle, send);
    if send == SendState::InUse {
        return Verdict::Sending;
    }
    let stuck = send == SendState::Stuck;
    let in_send = stuck && evidence.asleep_in_send == Some(true);
    if evidence.holding == (Holding::Others { told: false }) && !in_send {
        return Verdict::HeldElsewhere;
    }
    if stuck {
        return Verdict::BlockedInSend;
    }
    // Where the end is not in the queue, one that is empty does not tell whether it was read; data before it still tells that it was
    // not.
    let recv_q = evidence.queues.map(|queues| queues.recv_q).filter(|&recv_q| evidence.recv_q_tells || recv_q > 0);
    // Who has not read the request to its end does not work on the answer.
    let served = evidence.awaited_ns.is_some_and(|quiet_ns| quiet_ns <= ns(SERVED));
    if served && recv_q.is_none_or(|recv_q| recv_q == 0) {
        return Verdict::Sending;
    }
    match recv_q {
        // Kernel evidence before our own: a queued FIN was not read, whatever a receive returned before.
        Some(1..) if !evidence.eof_read || evidence.queues_after_eof_read => Verdict::EofUnread,
        _ if evidence.eof_read => Verdict::EofRead,
        Some(_) => Verdict::FinConsumed,
        None => Verdict::Unknown,
    }
}

/// What the send side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    Idle,
    InUse,
    Stuck,
}

fn send(queues: &Queues) -> SendState {
    let recent = ns(RECENT);
    let Queues { send_q, moved, sent_ago_ns, acked_ago_ns, sent_after_end, .. } = *queues;
    if moved == Some(true) {
        return SendState::InUse;
    }
    if send_q == 0 {
        let in_use = match sent_after_end {
            SentAfterEnd::Yes => sent_ago_ns <= ns(SENDING),
            SentAfterEnd::Maybe => sent_ago_ns <= recent,
            SentAfterEnd::No => false,
        };
        return if in_use { SendState::InUse } else { SendState::Idle };
    }
    // Retransmissions count as sent, replies to window probes as acknowledgements: neither alone is progress.
    if sent_ago_ns <= recent && acked_ago_ns <= recent { SendState::InUse } else { SendState::Stuck }
}

/// How many sockets a pool has at most, for it to be taken for one.
const POOL_SOCKETS: u64 = 256;

/// Data that came with the end and nobody has read, before the FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// How much it is, the FIN aside.
    pub bytes: u32,
    /// Whether the program has read something of this connection before.
    pub read_before: bool,
    /// How long after data was sent last it came, nanoseconds. Where none was sent: after the connection was made.
    pub after_sent_ns: u64,
    /// How long before the FIN it came, nanoseconds; not longer than this.
    pub before_end_ns: u64,
}

// Those that are known: close_notify of TLS 23 to 85, GOAWAY of HTTP/2 17 and a reason, 421 of SMTP some 60, connection.close of
// AMQP some 100, the errors of PostgreSQL (116) and MySQL (some 150), 408 of HTTP 212; under TLS some 50 more. An answer with
// its headers is mostly longer.
/// Last words are this long at most, in bytes.
const LAST_WORDS: u32 = 256;
/// Last words come at least this long after the last thing that was sent, or they may be the answer to it: half of the shortest idle
/// time-out, which servers count in seconds.
const UNASKED: Duration = Duration::from_millis(500);
/// Last words come at most this long before the FIN: a server may give the client time to answer them (nginx and Go 5 s).
const FAREWELL: Duration = Duration::from_secs(5);

/// Whether it looks like what a server says before it ends an idle connection.
#[must_use]
pub fn is_last_words(remainder: &Remainder) -> bool {
    remainder.bytes <= LAST_WORDS
        // Who has read nothing is no client that waits for its next request.
        && remainder.read_before
        && u128::from(remainder.after_sent_ns) >= UNASKED.as_nanos()
        && u128::from(remainder.before_end_ns) <= FAREWELL.as_nanos()
}

/// What was observed of sockets of one opening stack, all of them [`Verdict::EofUnread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolEvidence {
    /// The process is known to have connected them.
    pub connected: bool,
    /// How many there are.
    pub sockets: u64,
    /// How many have data unread that are no last words.
    pub with_data: u64,
    /// Whether their number has not grown; `None` when they have not been observed for long enough.
    pub flat: Option<bool>,
    /// The age of the youngest, nanoseconds.
    pub youngest_ns: u64,
    /// The age of the oldest, nanoseconds.
    pub oldest_ns: u64,
}

/// Whether these sockets look like idle keep-alive connections of a pool.
///
/// A slow leak is flat for a while, too; but then its sockets differ in age.
#[must_use]
pub fn is_pool(evidence: &PoolEvidence) -> bool {
    evidence.connected
        && evidence.sockets <= POOL_SOCKETS
        && evidence.with_data == 0
        && evidence.flat == Some(true)
        && evidence.youngest_ns >= evidence.oldest_ns / 2
}

const fn ns(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000
}
