//! From the sockets of one origin and one verdict to their group.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use super::{
    classify::Sighting,
    closed::top,
    group::{Ages, Backlog, Example, Group, Held, LeftByCounts, Peer, Range, Tallied, Teller},
    origin::{Origin, Side},
    process::Process,
    socket::{LeftBy, Phase, Socket},
    tracker::Leaks,
    trend::Growth,
    types::Observed,
};
use crate::{
    aggregate::verdict::Verdict,
    model::{
        Age, Comm, MonotonicNs,
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
    socket_ns: u128,
    ages: Vec<u64>,
    inexact: u64,
    /// The oldest first.
    oldest: Vec<Sighting<'a>>,
    pub(super) recv_q: Option<Range>,
    send_q: Option<Range>,
    sent_ago_ns: Option<Range>,
    unmoved_ns: Option<Range>,
    watched: u64,
    told: BTreeMap<Option<PlaceId>, TellerSum>,
    left_by: LeftByCounts,
    shut_down: BTreeMap<PlaceId, u64>,
    peers: HashMap<Peer, u64>,
    held: BTreeMap<u32, u64>,
    awaited_by: BTreeMap<u32, u64>,
    by_nobody: u64,
    held_unknown: u64,
}

impl<'a> Sum<'a> {
    pub(super) fn add(&mut self, sighting: &Sighting<'a>, side: Side, leaks: &Leaks, now: MonotonicNs) {
        let Sighting { socket, age, holders, .. } = *sighting;
        self.sockets += 1;
        self.socket_ns += u128::from(age.at_least_ns);
        self.ages.push(age.at_least_ns);
        self.inexact += u64::from(!age.is_exact());
        self.watched += u64::from(leaks.options.receive_hook && socket.entered.is_exact());
        self.add_example(sighting);
        if let Some(load) = socket.load {
            let since_read = now.0.saturating_sub(load.at.0);
            let ago = |ms: u32| (u64::from(ms) * NS_PER_MS).saturating_add(since_read);
            self.recv_q = Some(Range::with(self.recv_q, load.recv_q.into()));
            self.send_q = Some(Range::with(self.send_q, load.send_q.into()));
            self.sent_ago_ns = Some(Range::with(self.sent_ago_ns, ago(load.sent_ago_ms)));
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
        *self.peers.entry(peer(socket, side)).or_default() += 1;
        let mut last = None;
        for pid in holders.iter().map(|holder| holder.pid) {
            if last.replace(pid) != Some(pid) {
                *self.held.entry(pid).or_default() += 1;
            }
        }
        if let Some(pid) = socket.awaited_by {
            *self.awaited_by.entry(pid.get()).or_default() += 1;
        }
        if !leaks.knows_holders(socket) {
            self.held_unknown += 1;
        } else if holders.is_empty() {
            self.by_nobody += 1;
        }
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
        let comm = |sighting: &Sighting<'_>| sighting.socket.owner.map(|owner| owner.comm);
        let thread = sum.oldest.first().and_then(comm);
        let asleep = |asleep: &BTreeMap<u32, u32>| {
            let pids = sum.held.keys().copied().chain(origin.pid).collect::<HashSet<_>>();
            pids.iter().filter_map(|pid| asleep.get(pid)).map(|&threads| u64::from(threads)).sum()
        };
        Group {
            origin,
            process: origin.pid.map(|pid| self.process(pid, thread.filter(|_| origin.opener.is_none()))),
            opener: origin.opener.map(|pid| self.process(pid, thread)),
            thread,
            verdict,
            fate: None,
            sockets: sum.sockets,
            closed_late,
            socket_ns: u64::try_from(sum.socket_ns).unwrap_or(u64::MAX),
            growth,
            recv_q: sum.recv_q,
            send_q: sum.send_q,
            sent_ago_ns: sum.sent_ago_ns,
            unmoved_ns: sum.unmoved_ns,
            asleep_in_send: observed.asleep_in_send.map(asleep),
            watched: sum.watched,
            told: sum.told(observed.fold),
            left_by: sum.left_by,
            shut_down: sum.shut_down(observed.fold),
            awaited_by: self.most(&sum.awaited_by),
            held: self.held(&sum),
            backlogs: if verdict == Verdict::NeverAccepted { self.backlogs(origin) } else { Vec::new() },
            examples: sum.oldest.iter().map(|sighting| example(sighting, observed.now)).collect(),
            ages: sum.ages(),
            peers: sum.peers(),
        }
    }

    /// A process by the name that the last snapshot found, else by `comm`.
    pub(super) fn process(&self, pid: u32, comm: Option<Comm>) -> Process {
        Process { pid, comm: self.processes.get(&pid).map(|watched| watched.found.comm).or(comm) }
    }

    fn held(&self, sum: &Sum<'_>) -> Held {
        Held { by: self.most(&sum.held), by_nobody: sum.by_nobody, unknown: sum.held_unknown }
    }

    /// Processes with their numbers of sockets, most first.
    fn most(&self, sockets: &BTreeMap<u32, u64>) -> Vec<(Process, u64)> {
        let mut by: Vec<_> = sockets.iter().map(|(&pid, &sockets)| (self.process(pid, None), sockets)).collect();
        by.sort_by_key(|&(process, sockets)| (std::cmp::Reverse(sockets), process.pid));
        by
    }

    /// The listeners of an origin. Under `SO_REUSEPORT` there may be several.
    fn backlogs(&self, origin: Origin) -> Vec<Backlog> {
        let Side::Accepted(port) = origin.side else { return Vec::new() };
        let of_origin = self.listeners.iter().filter(|listener| {
            let pid = listener.owner.map(|owner| owner.pid);
            (listener.facts.netns, listener.facts.local.port) == (origin.netns, port)
                && (pid.is_none() || origin.pid.is_none() || pid == origin.pid)
        });
        of_origin
            .map(|listener| Backlog {
                local: listener.facts.local,
                process: listener.owner.map(|owner| self.process(owner.pid, Some(owner.comm))),
                waiting: listener.backlog,
                limit: listener.backlog_limit,
                dropped: listener.dropped,
            })
            .collect()
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
        holders: holders.to_vec(),
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
            by: Some(Actor { pid: 7, tid, comm: Comm(*b"worker\0\0\0\0\0\0\0\0\0\0") }),
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
