//! From what is kept of one socket to the evidence that a verdict is made of.

use super::{
    openers::Company,
    origin::Origin,
    socket::{Load, Movement, Phase, Socket},
    tracker::{CLOSE_TAKES_NS, Leaks},
    types::Observed,
};
use crate::{
    aggregate::verdict::{Evidence, Holding, Queues, SentAfterEnd, Verdict, judge},
    model::{Age, MonotonicNs, OwnerSource, ProcessId, Protocol, leak::Holder},
};

const NS_PER_MS: u64 = 1_000_000;
/// Data sent this shortly after the FIN may as well have been sent before it: two jiffies of `HZ=100`, nanoseconds.
const SLOP_NS: u64 = 20_000_000;

/// A socket as it stands at the time of a survey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'a> {
    pub(super) socket: &'a Socket,
    pub(super) holders: &'a [Holder],
    pub(super) age: Age,
    pub(super) verdict: Verdict,
    /// The process whose leak it is.
    pub(super) process: Option<ProcessId>,
    /// The process that opened it, where it is another one.
    pub(super) opener: Option<ProcessId>,
}

impl<'a> Sighting<'a> {
    /// The processes that hold it, each once.
    pub(super) fn holding(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut last = None;
        self.holders.iter().map(|holder| holder.pid).filter(move |&pid| last.replace(pid) != Some(pid))
    }
}

impl Leaks {
    /// What to say of a socket; `None` when it is neither in CLOSE_WAIT nor a ghost descriptor.
    pub(super) fn sight<'a>(&'a self, socket: &'a Socket, observed: &Observed<'_>) -> Option<Sighting<'a>> {
        let now = observed.now;
        if socket.missing {
            return None;
        }
        match socket.phase {
            Phase::Open => {}
            Phase::Closing(_) => return None,
            Phase::Ghost(left) => {
                let confirmed =
                    socket.listed == self.generation && self.snapshot.is_some_and(|(taken, _)| left.at <= taken);
                let closing = !confirmed && now.0.saturating_sub(left.at.0) < CLOSE_TAKES_NS;
                // A connection that was reset in the backlog has no descriptor yet; where an accept may have been missed, a
                // snapshot has to find one.
                let unseen = socket.is_of_listener() && socket.listed == 0 && !socket.was_accepted();
                if closing || unseen || self.is_unaccepted(socket) {
                    return None;
                }
            }
        }
        let holders = self.holders(socket);
        let holding = self.holding(socket, holders);
        let (process, opener) = self.whose(socket, holders, holding);
        let verdict = judge(&self.evidence(socket, holders, holding, process, observed));
        Some(Sighting { socket, holders, age: socket.entered.age(now), verdict, process, opener })
    }

    /// Where a sighted socket comes from.
    pub(super) fn origin(&self, sighting: &Sighting<'_>, company: &Company) -> Origin {
        let Sighting { socket, process, opener, .. } = *sighting;
        let (side, opening) = self.side_and_opening(socket, opener.or(process), company);
        Origin { process, opener, netns: socket.netns, side, opening }
    }

    /// Where a socket comes from, as far as that can be said without looking at others.
    pub(super) fn origin_alone(&self, socket: &Socket) -> Origin {
        let holders = self.holders(socket);
        let (process, opener) = self.whose(socket, holders, self.holding(socket, holders));
        let (side, opening) = self.side_and_opening(socket, opener.or(process), &Company::default());
        Origin { process, opener, netns: socket.netns, side, opening }
    }

    /// Whether a half-close was in use when the socket was looked at last.
    pub(super) fn was_sending(&self, socket: &Socket) -> bool {
        let Some(load) = socket.load else { return false };
        let observed = Observed { now: load.at, asleep_in_send: None, fold: &|place| place };
        let holders = self.holders(socket);
        let holding = self.holding(socket, holders);
        judge(&self.evidence(socket, holders, holding, None, &observed)) == Verdict::Sending
    }

    /// Whether nobody has accepted it, as far as is known now.
    pub(super) fn is_unaccepted(&self, socket: &Socket) -> bool {
        if socket.was_accepted() {
            return false;
        }
        if socket.listed != 0 {
            return socket.unaccepted;
        }
        socket.is_of_listener() && self.options.accept_hook
    }

    /// The verdict on a socket of which somebody else knows who holds it.
    pub(super) fn verdict(
        &self,
        socket: &Socket,
        holding: Holding,
        process: Option<ProcessId>,
        observed: &Observed<'_>,
    ) -> Verdict {
        judge(&self.evidence(socket, &[], holding, process, observed))
    }

    /// Whether the last snapshot tells who holds a socket.
    pub(super) fn knows_holders(&self, socket: &Socket) -> bool {
        self.options.descriptors && socket.was_looked_at()
    }

    pub(super) fn holding(&self, socket: &Socket, holders: &[Holder]) -> Holding {
        if !self.knows_holders(socket) {
            return Holding::Unknown;
        }
        if holders.is_empty() {
            return Holding::Nobody;
        }
        let holds = |process: ProcessId| holders.iter().any(|holder| self.present(holder.pid).is(process));
        match socket.owner {
            // Who listens need not be who accepts.
            Some(owner) if owner.source != OwnerSource::Listen && !holds(owner.process()) => {
                Holding::Others { told: socket.told.is_some_and(|told| holds(told.by.process())) }
            }
            _ => Holding::Owner,
        }
    }

    /// The process whose leak it is, and the one that opened it where that is another.
    pub(super) fn whose(
        &self,
        socket: &Socket,
        holders: &[Holder],
        holding: Holding,
    ) -> (Option<ProcessId>, Option<ProcessId>) {
        let owner = socket.owner.map(|owner| owner.process());
        let first = holders.first().map(|holder| self.present(holder.pid));
        let told = socket.told.map(|told| told.by.process());
        match holding {
            Holding::Others { told: true } => (told, owner),
            Holding::Others { told: false } => (first, owner),
            _ if self.is_unaccepted(socket) => (self.listener_of(socket).unwrap_or(owner), None),
            _ if socket.has_opener() => (owner, None),
            // Who listens need not be who accepts.
            _ => (first.or(told).or(owner), None),
        }
    }

    /// Who listens where a socket waits, as the last snapshot found, if that is one process: under `SO_REUSEPORT` nothing tells whose
    /// backlog it is in. `None` when no listener was found.
    fn listener_of(&self, socket: &Socket) -> Option<Option<ProcessId>> {
        let at_port = self.listeners_at(socket.netns, socket.local.port).iter();
        let mut listening = at_port.filter(|listener| listener.takes(socket.netns, socket.local)).map(|listener| {
            let only = || match listener.holders[..] {
                [only] => Some(self.present(only)),
                _ => None,
            };
            listener.owner.map(|owner| owner.process()).or_else(only)
        });
        let first = listening.next()?;
        Some(first.filter(|_| listening.all(|other| other == first)))
    }

    /// The process that has a number now, as far as the last snapshot tells.
    #[must_use]
    pub fn present(&self, pid: u32) -> ProcessId {
        ProcessId { pid, start: self.starts.get(&pid).copied() }
    }

    fn evidence(
        &self,
        socket: &Socket,
        holders: &[Holder],
        holding: Holding,
        process: Option<ProcessId>,
        observed: &Observed<'_>,
    ) -> Evidence {
        let now = observed.now;
        let read_at = socket.told.map(|told| told.at);
        Evidence {
            ghost: matches!(socket.phase, Phase::Ghost(_)),
            // Who holds it has accepted it, whatever the last snapshot found.
            unaccepted: self.is_unaccepted(socket) && !matches!(holding, Holding::Owner | Holding::Others { .. }),
            holding,
            eof_read: socket.eof_read,
            queues: socket.load.map(|load| queues(socket, &load, now)),
            queues_after_eof_read: socket.load.is_some_and(|load| read_at.is_none_or(|read_at| load.at > read_at)),
            awaited_ns: socket.awaited_by.map(|_| quiet_ns(socket, now)),
            recv_q_tells: socket.protocol != Protocol::Mptcp,
            asleep_in_send: observed.asleep_in_send.map(|asleep| {
                let asleep = |pid: u32| asleep.contains_key(&pid);
                process.is_some_and(|process| self.present(process.pid).is(process) && asleep(process.pid))
                    || holders.iter().any(|holder| asleep(holder.pid))
            }),
        }
    }
}

/// For how long since the end nothing has been sent, at least.
fn quiet_ns(socket: &Socket, now: MonotonicNs) -> u64 {
    let sent_at = socket.load.filter(|load| !load.sent_nothing).map_or(0, |load| load.sent_at());
    now.0.saturating_sub(socket.entered.latest.max(sent_at))
}

fn queues(socket: &Socket, load: &Load, now: MonotonicNs) -> Queues {
    // As of the reading: what happened since then is not known, so it is no older than that either.
    let sent_ago_ns = u64::from(load.sent_ago_ms) * NS_PER_MS;
    let sent_at = load.sent_at();
    let since_read = now.0.saturating_sub(load.at.0);
    Queues {
        recv_q: load.recv_q,
        send_q: load.send_q,
        moved: match load.movement {
            Movement::Unknown => None,
            Movement::Moved => Some(true),
            Movement::Still => Some(false),
        },
        sent_ago_ns: sent_ago_ns.saturating_add(since_read),
        acked_ago_ns: (u64::from(load.acked_ago_ms) * NS_PER_MS).saturating_add(since_read),
        sent_after_end: if load.sent_nothing {
            SentAfterEnd::No
        } else if sent_at > socket.entered.latest.saturating_add(SLOP_NS) {
            SentAfterEnd::Yes
        } else if sent_at <= socket.entered.earliest.saturating_add(SLOP_NS) {
            SentAfterEnd::No
        } else {
            SentAfterEnd::Maybe
        },
    }
}
