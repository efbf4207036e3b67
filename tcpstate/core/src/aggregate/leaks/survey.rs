//! How things stand: from sockets to groups.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use hashbrown::HashMap;

use super::{
    bounds::{Beyond, MOST_ROWS, Surplus},
    classify::Sighting,
    closed::LateCloses,
    group::Group,
    openers::{Company, Openers},
    origin::{Opening, Origin, Side},
    process::{LeakingProcess, Process},
    socket::{Movement, Phase, Socket},
    sum::Sum,
    sums::Sums,
    tally::{Tallied, Tally},
    tracker::Leaks,
    trend::Series,
    trends::{SocketKind, Trends},
    types::{ClosedLate, LeakTotals, Observed, Survey},
};
use crate::{
    aggregate::verdict::{PoolEvidence, Verdict, is_pool},
    model::{Age, ProcessId},
};

/// Places shown of late closes.
const TOP: usize = 3;
const NS_PER_US: u64 = 1000;

impl Leaks {
    /// How things stand. Also takes a sample of the number of sockets in each group, for their growth: call it at regular
    /// intervals.
    pub fn survey(&mut self, observed: &Observed<'_>) -> Survey {
        let mut openers = std::mem::take(&mut self.openers);
        let company = self.look_around(observed, &mut openers);
        self.openers = openers;
        let mut trends = std::mem::take(&mut self.trends);

        let mut totals = LeakTotals { closed_forgotten: self.closed.forgotten, ..LeakTotals::default() };
        let mut settles_in_ns = None;
        let mut leaking = BTreeMap::new();
        let mut sums = Sums::default();
        let mut leaked_descriptors: BTreeMap<u32, u64> = BTreeMap::new();
        for sighting in self.sightings(observed) {
            self.count(&sighting, &mut totals);
            if sighting.verdict.is_leak() {
                sighting.holders.iter().for_each(|holder| *leaked_descriptors.entry(holder.pid).or_default() += 1);
            }
            if sighting.socket.phase == Phase::Open {
                leaking.insert(sighting.process, ());
            }
            if !self.is_shown(&sighting) {
                totals.young += u64::from(sighting.socket.phase == Phase::Open);
                settles_in_ns = settles_in_ns.max(self.settles_in(&sighting));
                continue;
            }
            settles_in_ns = settles_in_ns.max(moves_perhaps(&sighting));
            sums.add(self.kind(&sighting, &company, observed), &sighting, self, observed.now);
        }
        if sums.make_room() {
            for sighting in self.sightings(observed).filter(|sighting| self.is_shown(sighting)) {
                sums.add_wanted(self.kind(&sighting, &company, observed), &sighting, self, observed.now);
            }
        }
        totals.processes = leaking.keys().flatten().count() as u64;

        let closed_late = self.closed_late(observed);
        totals.closed_late =
            totals.closed_forgotten + closed_late.iter().map(|late| late.sockets + late.unseen).sum::<u64>();
        // Before the first snapshot, sockets of before the trace would look like growth when it comes.
        if self.snapshot.is_some() {
            trends.sample(observed.now, &sums.sockets());
        }
        let (beyond, sending_beyond) = (sums.beyond(true), sums.beyond(false));
        let others: Vec<_> = sums.others().filter(|((_, verdict), _)| verdict.is_leak()).collect();
        let mut groups = Vec::new();
        let mut sending = Vec::new();
        for ((origin, verdict), Together { sum, series }) in together(sums.into_sums(), &trends) {
            let of_origin = |late: &&ClosedLate| late.origin.as_if_seen() == origin;
            let late = closed_late.iter().filter(of_origin).map(|late| late.sockets + late.unseen).sum();
            let group = self.group((origin, verdict), sum, Series::growth_of_sum(&series), late, observed);
            if verdict.is_leak() { groups.push(group) } else { sending.push(group) }
        }
        let unfollowed = trends.unfollowed;
        self.trends = trends;
        self.sample_leaked(&leaked_descriptors);
        for groups in [&mut groups, &mut sending] {
            groups
                .sort_by_key(|group| (group.verdict.is_guess(), Reverse(group.socket_ns), group.origin, group.verdict));
        }
        let (processes, processes_beyond) = self.process_rows(&groups, &others);
        Survey {
            now: observed.now,
            snapshot: self.snapshot.map(|(taken, _)| taken),
            totals,
            processes,
            groups,
            sending,
            left_out: self.left_out(),
            closed_late,
            settles_in_ns,
            surplus: Surplus {
                groups: beyond,
                sending: sending_beyond,
                trends: unfollowed,
                processes: processes_beyond,
                followed: self.unfollowed,
                places: self.places_beyond(),
                listening: self.ports_not_kept,
            },
        }
    }

    /// What makes a socket one of a group.
    fn kind(&self, sighting: &Sighting<'_>, company: &Company, observed: &Observed<'_>) -> SocketKind {
        (self.origin(sighting, company).folded(observed.fold), sighting.verdict)
    }

    /// Who listens where, if another process than those that are shown may have accepted.
    fn left_out(&self) -> BTreeMap<(u32, u16), Process> {
        let one = |(&at, process): (&(u32, u16), &Option<Process>)| Some((at, (*process)?));
        if self.by_process { self.listen_at.iter().filter_map(one).collect() } else { BTreeMap::new() }
    }

    fn sightings<'a>(&'a self, observed: &'a Observed<'_>) -> impl Iterator<Item = Sighting<'a>> {
        self.sockets.iter().filter_map(|socket| self.sight(socket, observed))
    }

    /// What the sockets say of each other.
    fn look_around(&self, observed: &Observed<'_>, openers: &mut Openers) -> Company {
        let seen = |socket: &&Socket| socket.opened.get().is_some();
        let sight = |socket| self.sight(socket, observed).filter(|sighting| self.is_shown(sighting));
        let unseen = self.sockets.iter().filter(|socket| !seen(socket)).filter_map(sight);
        let teaches = !openers.is_empty() || self.sockets.iter().any(|socket| seen(&socket));
        let (company, wanted) =
            self.company(unseen.map(|sighting| (sighting.socket, sighting.opener.or(sighting.process))), teaches);
        let leaks = self.sockets.iter().filter(seen).filter_map(sight).filter(|sighting| sighting.verdict.is_leak());
        let leaks = leaks.map(|sighting| sighting.socket);
        openers.learn(&wanted, leaks, observed.fold);
        company
    }

    fn count(&self, sighting: &Sighting<'_>, totals: &mut LeakTotals) {
        match sighting.socket.phase {
            Phase::Open => totals.close_wait += 1,
            Phase::Closing(_) | Phase::Ghost(_) => totals.ghosts += 1,
        }
        totals.sending += u64::from(!sighting.verdict.is_leak());
    }

    /// A leak is shown when it is certainly old enough, a half-close in use when it may be.
    fn is_shown(&self, sighting: &Sighting<'_>) -> bool {
        let Age { at_least_ns, at_most_ns } = sighting.age;
        let age_ns = if sighting.verdict.is_leak() { at_least_ns } else { at_most_ns.unwrap_or(u64::MAX) };
        u128::from(age_ns) >= self.options.older_than.as_nanos()
    }

    /// Of a socket that may be old enough: when it is, if it is still there.
    fn settles_in(&self, sighting: &Sighting<'_>) -> Option<u64> {
        let Age { at_least_ns, at_most_ns } = sighting.age;
        let older_than = u64::try_from(self.options.older_than.as_nanos()).unwrap_or(u64::MAX);
        at_most_ns.is_none_or(|at_most| at_most >= older_than).then(|| older_than.saturating_sub(at_least_ns))
    }

    /// Takes a sample of the descriptors of leaked sockets in each process, of the moment at which all its descriptors were counted.
    fn sample_leaked(&mut self, leaked: &BTreeMap<u32, u64>) {
        let Some((taken, _)) = self.snapshot else { return };
        for (pid, watched) in &mut self.processes {
            if let Some(past) = &mut watched.past {
                past.leaked.push(taken, leaked.get(pid).copied().unwrap_or(0));
            }
        }
    }

    /// The processes of these groups and of other leaks with the most sockets, and what there is beyond them.
    fn process_rows(&self, groups: &[Group], others: &[(SocketKind, u64)]) -> (Vec<LeakingProcess>, Beyond) {
        let mut sockets: BTreeMap<ProcessId, (Process, u64, u64)> = BTreeMap::new();
        let of_groups = groups.iter().filter_map(|group| Some((group.process?, group.verdict, group.sockets)));
        let of_others = others
            .iter()
            .filter_map(|&((origin, verdict), sockets)| Some((self.process(origin.process?, None), verdict, sockets)));
        for (process, verdict, more) in of_groups.chain(of_others) {
            let (_, all, unaccepted) = sockets.entry(process.id()).or_insert((process, 0, 0));
            *all += more;
            *unaccepted += if verdict == Verdict::NeverAccepted { more } else { 0 };
        }
        let mut sockets: Vec<_> =
            sockets.into_values().map(|(process, sockets, unaccepted)| ((process, unaccepted), sockets)).collect();
        sockets.sort_by_key(|&((process, _), sockets)| (Reverse(sockets), process.pid));
        let beyond = Beyond::of(&mut sockets, MOST_ROWS);
        let rows = sockets
            .into_iter()
            .map(|((process, unaccepted), sockets)| {
                let id = process.id();
                let watched = self.watched(id);
                let limit = watched.and_then(|watched| watched.found.descriptor_limit);
                let past = watched.and_then(|watched| watched.past.as_ref());
                LeakingProcess {
                    process,
                    sockets,
                    unaccepted,
                    descriptors: watched.map(|watched| watched.found.descriptors),
                    limit,
                    descriptor_growth: past.and_then(|past| past.descriptors.growth()),
                    leaked_growth: past.and_then(|past| past.leaked.growth()),
                    forecast: past.and_then(|past| past.descriptors.forecast(limit?)),
                }
            })
            .collect();
        (rows, beyond)
    }

    fn closed_late(&self, observed: &Observed<'_>) -> Vec<ClosedLate> {
        let mut merged: BTreeMap<Origin, (Cow<'_, LateCloses>, u64)> = BTreeMap::new();
        for (&origin, late) in self.closed.iter() {
            let inferred = if matches!(origin.opening, Opening::Inferred(_)) { late.sockets() } else { 0 };
            match merged.entry(origin.folded(observed.fold).as_if_seen()) {
                Entry::Vacant(new) => {
                    // A histogram is large: it is copied only where others are added.
                    new.insert((Cow::Borrowed(late), inferred));
                }
                Entry::Occupied(mut known) => {
                    let (kind, all) = known.get_mut();
                    kind.to_mut().merge(late);
                    *all += inferred;
                }
            }
        }
        let rows = merged.iter().map(|(&origin, (late, inferred))| self.closed_row(origin, late, *inferred, observed));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| (Reverse(row.sockets + row.unseen), row.origin));
        rows
    }

    fn closed_row(&self, origin: Origin, late: &LateCloses, inferred: u64, observed: &Observed<'_>) -> ClosedLate {
        // A bucket is named by its upper end, which may lie beyond the longest time.
        let quantile = |q| late.ages.value_at_quantile(q).saturating_mul(NS_PER_US).min(late.oldest_ns);
        let tallied = |tally: &Tally<_>| {
            let (top, others) = tally.top(TOP, observed.fold);
            Tallied { top, others }
        };
        let comm = late.owner.map(|owner| owner.comm);
        let buckets = late.ages.iter_log(NS_PER_US, 2.0);
        ClosedLate {
            origin: if inferred == late.sockets() { origin.as_inferred() } else { origin },
            inferred,
            process: origin.process.map(|process| self.process(process, comm.filter(|_| origin.opener.is_none()))),
            thread: comm,
            threads: late.threads.threads(),
            sockets: late.ages.len(),
            at_least: late.at_least,
            unseen: late.unseen,
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: late.oldest_ns,
            histogram: buckets
                .map(|bucket| {
                    (
                        bucket.value_iterated_to().saturating_add(1).saturating_mul(NS_PER_US),
                        bucket.count_since_last_iteration(),
                    )
                })
                .filter(|&(_, count)| count > 0)
                .collect(),
            told: tallied(&late.told),
            closed: tallied(&late.closed),
        }
    }
}

/// Sockets that are one kind to a reader, and how many there were of each part of them over time.
#[derive(Debug, Default)]
struct Together<'a, 's> {
    sum: Sum<'a>,
    series: Vec<&'s Series>,
}

/// Puts together what is one fault to a reader: with the sockets whose opening was seen those of which it is inferred from them.
fn together<'a, 's>(sums: HashMap<SocketKind, Sum<'a>>, trends: &'s Trends) -> BTreeMap<SocketKind, Together<'a, 's>> {
    // What was seen comes before what was inferred.
    let sums: BTreeMap<_, _> = sums.into_iter().collect();
    let mut kinds: BTreeMap<_, Together<'_, '_>> = BTreeMap::new();
    for ((origin, verdict), mut sum) in sums {
        let known = trends.get(&(origin, verdict));
        let mut verdict = with_pool(origin, verdict, &sum, is_flat(trends, origin, verdict));
        if is_read_to_the_end_perhaps(verdict, &sum) && kinds.contains_key(&(origin.as_if_seen(), Verdict::EofRead)) {
            // All later ones were read to the end; of these the same was over before anybody looked.
            if !kinds.contains_key(&(origin.as_if_seen(), Verdict::FinConsumed)) {
                sum.inferred.verdict = sum.sockets;
                verdict = Verdict::EofRead;
            }
        }
        let kind = kinds.entry((origin.as_if_seen(), verdict)).or_default();
        kind.sum.merge(sum);
        kind.series.extend(known);
    }
    kinds
}

/// Whether these are sockets of before the trace that are drained, all of them by receives that nobody has seen.
fn is_read_to_the_end_perhaps(verdict: Verdict, sum: &Sum<'_>) -> bool {
    verdict == Verdict::FinConsumed && sum.inferred.sockets == sum.sockets && sum.watched == 0
}

/// Whether the number of these sockets has not grown. Those of before the trace cannot grow: what counts is whether later ones
/// have joined them.
fn is_flat(trends: &Trends, origin: Origin, verdict: Verdict) -> Option<bool> {
    let flat = |origin| trends.get(&(origin, verdict))?.is_flat();
    match origin.opening {
        Opening::Inferred(place) => {
            let joined = Origin { opening: Opening::Seen(place), ..origin };
            let is_joined = trends.get(&(joined, verdict)).is_some();
            Some(flat(origin)? && (!is_joined || flat(joined)?))
        }
        _ => flat(origin),
    }
}

/// A pool is recognised by the sum of its sockets.
fn with_pool(origin: Origin, verdict: Verdict, sum: &Sum<'_>, flat: Option<bool>) -> Verdict {
    let evidence = PoolEvidence {
        connected: matches!(origin.side, Side::Connected(_)),
        sockets: sum.sockets,
        with_data: sum.with_data,
        flat,
        youngest_ns: sum.youngest_ns(),
        oldest_ns: sum.oldest_ns(),
    };
    if verdict == Verdict::EofUnread && is_pool(&evidence) { Verdict::Pool } else { verdict }
}

/// A send queue that was read once may move or be stuck: when another reading tells.
fn moves_perhaps(sighting: &Sighting<'_>) -> Option<u64> {
    const NEXT_READING_NS: u64 = 1_100_000_000;
    let once = sighting.socket.load.is_some_and(|load| load.send_q > 0 && load.movement == Movement::Unknown);
    (once && sighting.verdict == Verdict::Sending).then_some(NEXT_READING_NS)
}
