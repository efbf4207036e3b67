//! From the sockets of one origin and one verdict to their group.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use super::{
    bounds::{Beyond, MOST_LISTED},
    classify::Sighting,
    group::{Ages, Backlog, Example, Group, Held, Inferred, LeftByCounts, Peer, Range, Teller},
    origin::{Opening, Origin, Side},
    process::Process,
    socket::{LeftBy, Phase, Socket, Unread},
    tally::{Tallied, top},
    threads::ThreadTally,
    tracker::{Leaks, WatchedProcess},
    trend::Growth,
    types::Observed,
};
use crate::{
    aggregate::verdict::Verdict,
    model::{
        Age, Comm, MonotonicNs, ProcessId,
        leak::{Actor, PlaceId},
    },
};

/// Peers, places and the like shown of each group.
const TOP: usize = 3;
/// Sockets shown of each group.
const EXAMPLES: usize = 3;
const NS_PER_MS: u64 = 1_000_000;

/// Who was told of the end at one place.
#[derive(Clone, Copy, Debug, Default)]
struct TellerSum {
    sockets: u64,
    /// The first one that is known.
    by: Option<Actor>,
    and_others: bool,
}

impl TellerSum {
    fn add(&mut self, other: Self) {
        let same = |thread: fn(Actor) -> u32| self.by.map(thread) == other.by.map(thread);
        self.and_others |= other.and_others || self.sockets > 0 && !(same(|by| by.pid) && same(|by| by.tid));
        self.sockets += other.sockets;
        self.by = self.by.or(other.by);
    }
}

/// What adds up to a group.
#[derive(Debug, Default)]
pub(super) struct Sum<'a> {
    pub(super) sockets: u64,
    pub(super) inferred: Inferred,
    socket_ns: u128,
    ages: Vec<u64>,
    inexact: u64,
    /// The oldest first.
    oldest: Vec<Sighting<'a>>,
    pub(super) recv_q: Option<Range>,
    send_q: Option<Range>,
    sent_ago_ns: Option<Range>,
    nothing_sent: u64,
    unmoved_ns: Option<Range>,
    pub(super) watched: u64,
    /// Sockets with data unread that are no last words.
    pub(super) with_data: u64,
    last_words: u64,
    told: BTreeMap<Option<PlaceId>, TellerSum>,
    left_by: LeftByCounts,
    shut_down: BTreeMap<PlaceId, u64>,
    peers: HashMap<Peer, u64>,
    threads: ThreadTally,
    held: BTreeMap<u32, u64>,
    awaited_by: BTreeMap<u32, u64>,
    by_nobody: u64,
    held_unknown: u64,
}

impl<'a> Sum<'a> {
    pub(super) fn add(&mut self, sighting: &Sighting<'a>, origin: Origin, leaks: &Leaks, now: MonotonicNs) {
        let Sighting { socket, age, holders, .. } = *sighting;
        self.sockets += 1;
        if matches!(origin.opening, Opening::Inferred(_)) {
            self.inferred.sockets += 1;
            self.inferred.socket_ns = self.inferred.socket_ns.saturating_add(age.at_least_ns);
        }
        self.socket_ns += u128::from(age.at_least_ns);
        self.ages.push(age.at_least_ns);
        self.inexact += u64::from(!age.is_exact());
        self.watched += u64::from(leaks.options.receive_hook && socket.entered.is_exact());
        self.add_example(sighting);
        self.threads.add(socket.owner);
        if let Some(load) = socket.load {
            let since_read = now.0.saturating_sub(load.at.0);
            let ago = |ms: u32| (u64::from(ms) * NS_PER_MS).saturating_add(since_read);
            self.recv_q = Some(Range::with(self.recv_q, load.recv_q.into()));
            self.send_q = Some(Range::with(self.send_q, load.send_q.into()));
            if load.sent_nothing {
                self.nothing_sent += 1;
            } else {
                self.sent_ago_ns = Some(Range::with(self.sent_ago_ns, ago(load.sent_ago_ms)));
            }
            match load.unread {
                Unread::Nothing => {}
                Unread::LastWords => self.last_words += 1,
                Unread::Data => self.with_data += 1,
            }
            self.unmoved_ns = Some(Range::with(self.unmoved_ns, u64::from(load.unmoved_ms) * NS_PER_MS));
        }
        if socket.eof_read {
            let told = self.told.entry(socket.told.and_then(|told| told.place.get())).or_default();
            told.add(TellerSum { sockets: 1, by: socket.told.map(|told| told.by), and_others: false });
        }
        if let Some(left) = socket.phase.left() {
            match left.by {
                LeftBy::Program => self.left_by.shutdown += 1,
                LeftBy::Abort => self.left_by.abort += 1,
                LeftBy::Unseen => self.left_by.unseen += 1,
            }
            if let Some(place) = left.place.get() {
                *self.shut_down.entry(place).or_default() += 1;
            }
        }
        *self.peers.entry(peer(socket, origin.side)).or_default() += 1;
        sighting.holding().for_each(|pid| *self.held.entry(pid).or_default() += 1);
        if let Some(pid) = socket.awaited_by {
            *self.awaited_by.entry(pid.get()).or_default() += 1;
        }
        if !leaks.knows_holders(socket) {
            self.held_unknown += 1;
        } else if holders.is_empty() {
            self.by_nobody += 1;
        }
    }

    /// Adds other sockets that a reader takes for the same kind.
    pub(super) fn merge(&mut self, other: Self) {
        if self.sockets == 0 {
            *self = other;
            return;
        }
        // Every field by its name, so that none is forgotten.
        let Self {
            sockets,
            inferred,
            socket_ns,
            ages,
            inexact,
            oldest,
            recv_q,
            send_q,
            sent_ago_ns,
            nothing_sent,
            unmoved_ns,
            watched,
            with_data,
            last_words,
            told,
            left_by,
            shut_down,
            peers,
            threads,
            held,
            awaited_by,
            by_nobody,
            held_unknown,
        } = other;
        self.sockets += sockets;
        self.inferred.sockets += inferred.sockets;
        self.inferred.socket_ns = self.inferred.socket_ns.saturating_add(inferred.socket_ns);
        self.inferred.verdict += inferred.verdict;
        self.socket_ns += socket_ns;
        self.ages.extend(ages);
        self.inexact += inexact;
        oldest.iter().for_each(|sighting| self.add_example(sighting));
        self.nothing_sent += nothing_sent;
        self.watched += watched;
        self.with_data += with_data;
        self.last_words += last_words;
        self.by_nobody += by_nobody;
        self.held_unknown += held_unknown;
        for (own, others) in [
            (&mut self.recv_q, recv_q),
            (&mut self.send_q, send_q),
            (&mut self.sent_ago_ns, sent_ago_ns),
            (&mut self.unmoved_ns, unmoved_ns),
        ] {
            for end in others.iter().flat_map(|range| [range.min, range.max]) {
                *own = Some(Range::with(*own, end));
            }
        }
        self.threads.merge(&threads);
        for (place, told) in told {
            self.told.entry(place).or_default().add(told);
        }
        self.left_by.shutdown += left_by.shutdown;
        self.left_by.abort += left_by.abort;
        self.left_by.unseen += left_by.unseen;
        add_all(&mut self.shut_down, shut_down);
        add_all(&mut self.held, held);
        add_all(&mut self.awaited_by, awaited_by);
        for (peer, sockets) in peers {
            *self.peers.entry(peer).or_default() += sockets;
        }
    }

    /// Where they come from, said in one: seen where it was seen of any.
    fn origin(&self, origin: Origin) -> Origin {
        if self.inferred.sockets == self.sockets { origin.as_inferred() } else { origin }
    }

    fn add_example(&mut self, sighting: &Sighting<'a>) {
        let key = |sighting: &Sighting<'_>| {
            (std::cmp::Reverse(sighting.age.at_least_ns), sighting.socket.id.cookie, sighting.socket.id.skaddr)
        };
        let place = self.oldest.partition_point(|other| key(other) <= key(sighting));
        if place < EXAMPLES {
            self.oldest.truncate(EXAMPLES - 1);
            self.oldest.insert(place, *sighting);
        }
    }

    /// The sum of their ages, nanoseconds.
    pub(super) fn socket_ns(&self) -> u128 {
        self.socket_ns
    }

    pub(super) fn youngest_ns(&self) -> u64 {
        self.ages.iter().copied().min().unwrap_or(0)
    }

    pub(super) fn oldest_ns(&self) -> u64 {
        self.oldest.first().map_or(0, |oldest| oldest.age.at_least_ns)
    }

    fn ages(&mut self) -> Ages {
        let youngest_ns = self.youngest_ns();
        Ages {
            p50_ns: quantile(&mut self.ages, 0.5),
            p99_ns: quantile(&mut self.ages, 0.99),
            oldest: self.oldest.first().map_or(Age { at_least_ns: 0, at_most_ns: None }, |oldest| oldest.age),
            youngest_ns,
            inexact: self.inexact,
        }
    }

    fn told(&self, fold: &dyn Fn(PlaceId) -> PlaceId) -> Tallied<Teller> {
        let mut folded: BTreeMap<Option<PlaceId>, TellerSum> = BTreeMap::new();
        for (&place, &told) in &self.told {
            folded.entry(place.map(fold)).or_default().add(told);
        }
        let counts = folded.iter().map(|(&place, told)| (place, told.sockets)).collect();
        let (top, others) = top(counts, TOP);
        let teller = |place| {
            let TellerSum { by, and_others, .. } = folded.get(&place).copied().unwrap_or_default();
            Teller { place, by, and_others }
        };
        Tallied { top: top.into_iter().map(|(place, sockets)| (teller(place), sockets)).collect(), others }
    }

    fn shut_down(&self, fold: &dyn Fn(PlaceId) -> PlaceId) -> Tallied<PlaceId> {
        let mut folded = BTreeMap::new();
        for (&place, &count) in &self.shut_down {
            *folded.entry(fold(place)).or_default() += count;
        }
        let (top, others) = top(folded, TOP);
        Tallied { top, others }
    }

    fn peers(&mut self) -> Tallied<Peer> {
        let mut peers: Vec<_> = self.peers.drain().collect();
        peers.sort_by_key(|&(peer, count)| (std::cmp::Reverse(count), peer));
        let others = peers.iter().skip(TOP).map(|&(_, count)| count).sum();
        peers.truncate(TOP);
        Tallied { top: peers, others }
    }
}

impl Leaks {
    /// The group that the sums amount to.
    pub(super) fn group(
        &self,
        (origin, verdict): (Origin, Verdict),
        mut sum: Sum<'_>,
        growth: Option<Growth>,
        closed_late: u64,
        observed: &Observed<'_>,
    ) -> Group {
        let origin = sum.origin(origin);
        let comm = |sighting: &Sighting<'_>| sighting.socket.owner.map(|owner| owner.comm);
        let threads = sum.threads.threads();
        // That of the oldest of which the opening was seen, if it is among the oldest of all.
        let opened = sum.oldest.iter().find(|sighting| sighting.socket.has_opener());
        let named = threads.names.top.first().map(|&(comm, _)| comm);
        let thread = opened.and_then(comm).or(named).or_else(|| sum.oldest.first().and_then(comm));
        let asleep = |asleep: &BTreeMap<u32, u32>| {
            let own =
                origin.process.filter(|&process| self.present(process.pid).is(process)).map(|process| process.pid);
            let pids = sum.held.keys().copied().chain(own).collect::<HashSet<_>>();
            pids.iter().filter_map(|pid| asleep.get(pid)).map(|&threads| u64::from(threads)).sum()
        };
        let (awaited_by, awaited_by_others) = self.most(&sum.awaited_by);
        let (backlogs, other_backlogs) =
            if verdict == Verdict::NeverAccepted { self.backlogs(origin) } else { (Vec::new(), 0) };
        Group {
            origin,
            inferred: sum.inferred,
            process: origin.process.map(|process| self.process(process, thread.filter(|_| origin.opener.is_none()))),
            opener: origin.opener.map(|process| self.process(process, thread)),
            thread,
            threads,
            verdict,
            fate: None,
            sockets: sum.sockets,
            closed_late,
            socket_ns: u64::try_from(sum.socket_ns).unwrap_or(u64::MAX),
            growth,
            recv_q: sum.recv_q,
            send_q: sum.send_q,
            sent_ago_ns: sum.sent_ago_ns,
            nothing_sent: sum.nothing_sent,
            unmoved_ns: sum.unmoved_ns,
            asleep_in_send: observed.asleep_in_send.map(asleep),
            last_words: sum.last_words,
            watched: sum.watched,
            told: sum.told(observed.fold),
            left_by: sum.left_by,
            shut_down: sum.shut_down(observed.fold),
            awaited_by,
            awaited_by_others,
            held: self.held(&sum),
            backlogs,
            other_backlogs,
            examples: sum.oldest.iter().map(|sighting| example(sighting, observed.now)).collect(),
            ages: sum.ages(),
            peers: sum.peers(),
        }
    }

    /// A process by the name that the last snapshot found, else by `comm`.
    pub(super) fn process(&self, process: ProcessId, comm: Option<Comm>) -> Process {
        Process::new(process, self.watched(process).map(|watched| watched.found.comm).or(comm))
    }

    /// What the last snapshot found of a process, and not of another one with its number.
    pub(super) fn watched(&self, process: ProcessId) -> Option<&WatchedProcess> {
        self.processes.get(&process.pid).filter(|watched| watched.process.is(process))
    }

    fn held(&self, sum: &Sum<'_>) -> Held {
        let (by, others) = self.most(&sum.held);
        Held { by, others, by_nobody: sum.by_nobody, unknown: sum.held_unknown }
    }

    /// Processes with their numbers of sockets, most first, as many as are listed; and the others.
    fn most(&self, sockets: &BTreeMap<u32, u64>) -> (Vec<(Process, u64)>, Beyond) {
        let mut by: Vec<_> = sockets.iter().map(|(&pid, &sockets)| (pid, sockets)).collect();
        by.sort_by_key(|&(pid, sockets)| (std::cmp::Reverse(sockets), pid));
        let others = Beyond::of(&mut by, MOST_LISTED);
        let listed = by.into_iter().map(|(pid, sockets)| (self.process(self.present(pid), None), sockets));
        (listed.collect(), others)
    }

    /// The listeners of an origin, as many as are listed, and how many others there are. Under `SO_REUSEPORT` there may be several.
    fn backlogs(&self, origin: Origin) -> (Vec<Backlog>, u64) {
        let Side::Accepted(port) = origin.side else { return (Vec::new(), 0) };
        let mut of_origin = self.listeners_at(origin.netns, port).iter().filter(|listener| {
            let owner = listener.owner.map(|owner| owner.process());
            let holds = |process: ProcessId| listener.holders.iter().any(|&pid| self.present(pid).is(process));
            owner.is_none() || origin.process.is_none_or(|process| owner == Some(process) || holds(process))
        });
        let listed = of_origin.by_ref().take(MOST_LISTED);
        let backlogs = listed.map(|listener| Backlog {
            local: listener.facts.local,
            process: listener.owner.map(|owner| self.process(owner.process(), Some(owner.comm))),
            holders: {
                let listed = listener.holders.iter().take(MOST_LISTED);
                listed.map(|&pid| self.process(self.present(pid), None)).collect()
            },
            other_holders: listener.holders.len().saturating_sub(MOST_LISTED) as u64,
            waiting: listener.backlog,
            limit: listener.backlog_limit,
            dropped: listener.dropped,
        });
        (backlogs.collect(), of_origin.count() as u64)
    }
}

fn add_all<K: Ord>(counts: &mut BTreeMap<K, u64>, others: BTreeMap<K, u64>) {
    for (key, count) in others {
        *counts.entry(key).or_default() += count;
    }
}

fn peer(socket: &Socket, side: Side) -> Peer {
    let port = match side {
        Side::Accepted(_) | Side::LocalPort(_) => None,
        Side::Connected(_) | Side::RemotePort(_) => Some(socket.remote.port),
    };
    Peer { addr: socket.remote.addr, port }
}

fn example(sighting: &Sighting<'_>, now: MonotonicNs) -> Example {
    let Sighting { socket, holders, age, .. } = *sighting;
    Example {
        id: socket.id,
        family: socket.family,
        protocol: socket.protocol,
        local: socket.local,
        remote: socket.remote,
        age,
        left_ago_ns: match socket.phase {
            Phase::Ghost(left) => Some(now.0.saturating_sub(left.at.0)),
            Phase::Open | Phase::Closing(_) => None,
        },
        recv_q: socket.load.map(|load| load.recv_q),
        send_q: socket.load.map(|load| load.send_q),
        holders: holders[..holders.len().min(MOST_LISTED)].to_vec(),
        other_holders: holders.len().saturating_sub(MOST_LISTED) as u64,
    }
}

/// Nearest-rank quantile.
fn quantile(values: &mut [u64], q: f64) -> u64 {
    let rank = (values.len() as f64 * q).ceil() as usize;
    let index = rank.saturating_sub(1);
    if index >= values.len() {
        return 0;
    }
    *values.select_nth_unstable(index).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_stands_for_others_only_where_there_are_others() {
        let by = |tid| TellerSum {
            sockets: 1,
            by: Some(Actor { pid: 7, tid, comm: Comm(*b"worker\0\0\0\0\0\0\0\0\0\0"), start: None }),
            and_others: false,
        };
        let told = |tellers: &[TellerSum]| {
            let mut told = TellerSum::default();
            tellers.iter().for_each(|&teller| told.add(teller));
            (told.sockets, told.by.map(|by| by.tid), told.and_others)
        };
        assert_eq!(told(&[by(8), by(8), by(8)]), (3, Some(8), false));
        assert_eq!(told(&[by(8), by(9)]), (2, Some(8), true));
        let before_the_trace = TellerSum { sockets: 1, ..TellerSum::default() };
        assert_eq!(told(&[before_the_trace, by(8)]), (2, Some(8), true));
        let mut folded = by(8);
        folded.add(TellerSum { sockets: 2, and_others: true, ..by(8) });
        assert!(folded.and_others);
    }
}
