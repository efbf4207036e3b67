//! What there is to know about a scenario: its ground truth.

use std::ops::RangeInclusive;

/// What one round of a scenario leaves behind, and why. The default is a program that leaks nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Sockets that the program leaks in a round.
    pub(crate) leaked: usize,
    /// What may be said of each of them; of several the first is the best.
    pub(crate) verdicts: &'static [Verdict],
    /// Whether a second round leaks as many sockets again, instead of replacing those of the first.
    pub(crate) grows: bool,
    /// Sockets in `CLOSE_WAIT` that are no leak: half-closed by their peer and still in use.
    pub(crate) in_use: usize,
    /// Sockets that the program closes as soon as their peer has.
    pub(crate) closed: usize,
    /// Sockets that it closes so many milliseconds later.
    pub(crate) held: &'static [(u64, usize)],
    pub(crate) recv_queue: Queue,
    pub(crate) send_queue: Queue,
    /// Listeners of several processes share the port, so nothing in a transition tells whose a connection is that nobody has
    /// accepted: its owner is unknown then.
    pub(crate) ambiguous_listener: bool,
    /// The call that opened the leaked sockets.
    pub(crate) opened: Option<Stack>,
    /// The receive that returned 0 and was not followed by a close.
    pub(crate) told: Option<Stack>,
    /// The `shutdown()` that was taken for a close.
    pub(crate) shut_down: Option<Stack>,
    /// Where threads of the program sleep instead of closing.
    pub(crate) asleep: Option<Asleep>,
}

impl Expected {
    pub(crate) const NO_LEAK: Self = Self {
        leaked: 0,
        verdicts: &[],
        grows: true,
        in_use: 0,
        closed: 0,
        held: &[],
        recv_queue: Queue::EMPTY,
        send_queue: Queue::EMPTY,
        ambiguous_listener: false,
        opened: None,
        told: None,
        shut_down: None,
        asleep: None,
    };

    pub(crate) fn may_be(&self, verdict: Verdict) -> bool {
        self.verdicts.contains(&verdict)
    }

    /// Whether the leaked sockets leave `CLOSE_WAIT`, and what remains is the descriptor.
    pub(crate) fn ghosts(&self) -> bool {
        self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::GhostFd { .. }))
    }

    /// Sockets that are in `CLOSE_WAIT` after so many rounds.
    pub(crate) fn in_close_wait(&self, rounds: usize) -> usize {
        if self.ghosts() { 0 } else { self.in_use * rounds + self.leaked_after(rounds) }
    }

    /// Sockets that have been leaked after so many rounds.
    pub(crate) fn leaked_after(&self, rounds: usize) -> usize {
        if self.grows { self.leaked * rounds } else { self.leaked * rounds.min(1) }
    }

    /// Sockets that have been in `CLOSE_WAIT` and left it, after one round.
    pub(crate) fn leaving(&self) -> usize {
        let held: usize = self.held.iter().map(|(_, count)| count).sum();
        self.closed + held + if self.ghosts() { self.leaked } else { 0 }
    }

    /// The state that sockets leave `CLOSE_WAIT` for.
    pub(crate) fn left_for(&self) -> &'static str {
        let ghost = self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::GhostFd { left_for } => Some(*left_for),
            _ => None,
        });
        ghost.unwrap_or("LAST_ACK")
    }
}

/// Why a socket is in `CLOSE_WAIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The peer gave up while the connection sat in the accept backlog.
    NeverAccepted,
    /// The program has not read to the end.
    EofUnread,
    /// A receive returned 0 to the program.
    EofRead,
    /// The queue is drained although no receive returned 0: the last data and the FIN were taken together.
    FinConsumed,
    /// The process that opened it has closed it, another one has not.
    HeldElsewhere,
    /// A half-close in use.
    Sending,
    /// A half-close whose peer waits for the answer, of which nothing has come yet.
    Awaited,
    /// A thread sleeps in a send that cannot go on.
    BlockedInSend,
    /// It has left `CLOSE_WAIT`, for this state, and its descriptor is still open.
    GhostFd { left_for: &'static str },
    /// Idle keep-alive connections of a pool.
    Pool,
}

/// What `ss` has to say of a queue of each socket.
#[derive(Clone, Debug, PartialEq, Eq, Copy)]
pub(crate) enum Queue {
    Between(usize, usize),
    /// So many bytes in so many sockets of a round.
    Mixed(&'static [(usize, usize)]),
}

impl Queue {
    pub(crate) const EMPTY: Self = Self::exactly(0);

    pub(crate) const fn exactly(bytes: usize) -> Self {
        Self::Between(bytes, bytes)
    }

    pub(crate) const fn at_least(bytes: usize) -> Self {
        Self::Between(bytes, usize::MAX)
    }

    /// Whether the sockets of so many rounds have these queues.
    pub(crate) fn fits(self, queues: &[usize], rounds: usize) -> bool {
        match self {
            Self::Between(least, most) => queues.iter().all(|bytes| RangeInclusive::new(least, most).contains(bytes)),
            Self::Mixed(parts) => parts
                .iter()
                .all(|(bytes, count)| queues.iter().filter(|queue| *queue == bytes).count() == count * rounds),
        }
    }
}

/// Functions that have to be found on a stack in this order, innermost first; others may lie between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// Name of the thread, where it is not that of the program.
    pub(crate) thread: Option<&'static str>,
    /// Symbols of the program and its libraries, as [`plain_name`] gives them.
    pub(crate) functions: &'static [&'static str],
    /// Those of `functions` that have no symbol, because the compiler inlined them.
    pub(crate) inlined: &'static [&'static str],
    /// A file, and text that is found on one line of it only: the line of the innermost function.
    pub(crate) line: Option<(&'static str, &'static str)>,
    /// Functions of the interpreted language, without their class, where the interpreter tells their addresses.
    pub(crate) interpreted: &'static [&'static str],
    /// The event loop that was told for the program.
    pub(crate) event_loop: Option<&'static str>,
}

impl Stack {
    pub(crate) const fn of(functions: &'static [&'static str]) -> Self {
        Self { thread: None, functions, inlined: &[], line: None, interpreted: &[], event_loop: None }
    }

    pub(crate) const fn interpreted(interpreted: &'static [&'static str]) -> Self {
        Self { interpreted, ..Self::of(&[]) }
    }

    pub(crate) const fn through(self, event_loop: &'static str) -> Self {
        Self { event_loop: Some(event_loop), ..self }
    }

    pub(crate) const fn on_thread(self, name: &'static str) -> Self {
        Self { thread: Some(name), ..self }
    }
}

/// Threads that sleep in a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asleep {
    /// Its number.
    pub(crate) syscall: i64,
    /// At least so many threads.
    pub(crate) threads: usize,
    pub(crate) stack: Stack,
}

/// A demangled symbol without what compilers add: parameters, ABI tags, clones, hashes.
pub(crate) fn plain_name(symbol: &str) -> &str {
    let end = [" [clone", "[abi:", "(", ".isra.", ".part.", ".constprop.", ".cold", "::h"]
        .into_iter()
        .filter_map(|suffix| symbol.find(suffix))
        // `::h` begins a hash only at the end, and a Go method has its receiver in parentheses.
        .filter(|&at| at > 0 && (!symbol[at..].starts_with("::h") || is_hash(&symbol[at + 3..])))
        .filter(|&at| !symbol[at..].starts_with("(*"))
        .min();
    &symbol[..end.unwrap_or(symbol.len())]
}

/// The parts of a name as interpreters write them: `JS:~connect node:net:1`, `py::socket.accept:/usr/lib/…`.
pub(crate) fn words(interpreted: &str) -> impl Iterator<Item = &str> {
    interpreted.split([' ', ':', '.', '~', '^', '*', '+'])
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
