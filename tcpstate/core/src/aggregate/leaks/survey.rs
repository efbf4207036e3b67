//! How things stand: from sockets to groups.

use std::{cmp::Reverse, collections::BTreeMap};

use hashbrown::HashMap;

use super::{
    classify::Sighting,
    closed,
    group::{Group, Tallied},
    openers::{Company, Openers},
    origin::{Opening, Origin, Side},
    process::{LeakingProcess, Process},
    socket::{Movement, Phase, Socket},
    sum::Sum,
    tracker::Leaks,
    trend::Series,
    types::{ClosedLate, LeakTotals, Observed, Survey},
};
use crate::{
    aggregate::verdict::{PoolEvidence, Verdict, is_pool},
    model::Age,
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
        let mut series = std::mem::take(&mut self.counts);

        let mut totals = LeakTotals { closed_forgotten: self.closed.forgotten, ..LeakTotals::default() };
        let mut settles_in_ns = None;
        let mut close_wait_pids = BTreeMap::new();
        let mut sums: HashMap<(Origin, Verdict), Sum<'_>> = HashMap::new();
        for sighting in self.sightings(observed) {
            self.count(&sighting, &mut totals);
            if sighting.socket.phase == Phase::Open {
                close_wait_pids.insert(sighting.pid, ());
            }
            if !self.is_shown(&sighting) {
                totals.young += u64::from(sighting.socket.phase == Phase::Open);
                settles_in_ns = settles_in_ns.max(self.settles_in(&sighting));
                continue;
            }
            settles_in_ns = settles_in_ns.max(moves_perhaps(&sighting));
            let origin = self.origin(&sighting, &company).folded(observed.fold);
            let sum = sums.entry((origin, sighting.verdict)).or_default();
            sum.add(&sighting, origin.side, self, observed.now);
        }
        totals.processes = close_wait_pids.keys().flatten().count() as u64;

        let closed_late = self.closed_late(observed);
        totals.closed_late =
            totals.closed_forgotten + closed_late.iter().map(|late| late.sockets + late.unseen).sum::<u64>();
        self.sample(&mut series, &sums, observed);
        let mut groups = Vec::new();
        let mut sending = Vec::new();
        for ((origin, verdict), sum) in sums {
            let growth = series.get(&(origin, verdict)).and_then(Series::growth);
            let verdict = with_pool(origin, verdict, &sum, is_flat(&series, origin, verdict));
            let late =
                closed_late.iter().filter(|late| late.origin == origin).map(|late| late.sockets + late.unseen).sum();
            let group = self.group((origin, verdict), sum, growth, late, observed);
            if verdict.is_leak() { groups.push(group) } else { sending.push(group) }
        }
        self.counts = series;
        for groups in [&mut groups, &mut sending] {
            groups
                .sort_by_key(|group| (group.verdict.is_guess(), Reverse(group.socket_ns), group.origin, group.verdict));
        }
        Survey {
            now: observed.now,
            snapshot: self.snapshot.map(|(taken, _)| taken),
            totals,
            processes: self.process_rows(&groups),
            groups,
            sending,
            closed_late,
            settles_in_ns,
        }
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
            self.company(unseen.map(|sighting| (sighting.socket, sighting.opener.or(sighting.pid))), teaches);
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

    /// Takes a sample of every group, those that are empty now included.
    fn sample(
        &self,
        series: &mut BTreeMap<(Origin, Verdict), Series>,
        sums: &HashMap<(Origin, Verdict), Sum<'_>>,
        observed: &Observed<'_>,
    ) {
        // Before the first snapshot, sockets of before the trace would look like growth when it comes.
        if self.snapshot.is_none() {
            return;
        }
        for (key, series) in &mut *series {
            if !sums.contains_key(key) {
                series.push(observed.now, 0);
            }
        }
        series.retain(|key, series| sums.contains_key(key) || !series.is_empty());
        for (&key, sum) in sums {
            series.entry(key).or_insert_with(Series::new).push(observed.now, sum.sockets);
        }
    }

    fn process_rows(&self, groups: &[Group]) -> Vec<LeakingProcess> {
        let mut sockets: BTreeMap<u32, (Process, u64)> = BTreeMap::new();
        for group in groups {
            if let Some(process) = group.process {
                sockets.entry(process.pid).or_insert((process, 0)).1 += group.sockets;
            }
        }
        let mut rows: Vec<_> = sockets
            .into_iter()
            .map(|(pid, (process, sockets))| {
                let watched = self.processes.get(&pid);
                let limit = watched.and_then(|watched| watched.found.descriptor_limit);
                let forecast = watched.and_then(|watched| watched.descriptors.forecast(limit?));
                LeakingProcess {
                    process,
                    sockets,
                    descriptors: watched.map(|watched| watched.found.descriptors),
                    limit,
                    forecast,
                }
            })
            .collect();
        rows.sort_by_key(|row| (Reverse(row.sockets), row.process.pid));
        rows
    }

    fn closed_late(&self, observed: &Observed<'_>) -> Vec<ClosedLate> {
        let mut merged: BTreeMap<Origin, closed::LateCloses> = BTreeMap::new();
        for (&origin, late) in self.closed.iter() {
            merged.entry(origin.folded(observed.fold)).or_insert_with(closed::LateCloses::new).merge(late);
        }
        let mut rows: Vec<_> = merged.iter().map(|(&origin, late)| self.closed_row(origin, late, observed)).collect();
        rows.sort_by_key(|row| (Reverse(row.sockets + row.unseen), row.origin));
        rows
    }

    fn closed_row(&self, origin: Origin, late: &closed::LateCloses, observed: &Observed<'_>) -> ClosedLate {
        // A bucket is named by its upper end, which may lie beyond the longest time.
        let quantile = |q| late.ages.value_at_quantile(q).saturating_mul(NS_PER_US).min(late.oldest_ns);
        let tallied = |tally: &closed::Tally<_>| {
            let (top, others) = tally.top(TOP, observed.fold);
            Tallied { top, others }
        };
        let buckets = late.ages.iter_log(NS_PER_US, 2.0);
        ClosedLate {
            origin,
            process: origin.pid.map(|pid| self.process(pid, late.comm.filter(|_| origin.opener.is_none()))),
            thread: late.comm,
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

/// Whether the number of these sockets has not grown. Those of before the trace cannot grow: what counts is whether later ones
/// have joined them.
fn is_flat(series: &BTreeMap<(Origin, Verdict), Series>, origin: Origin, verdict: Verdict) -> Option<bool> {
    let flat = |origin| Some(series.get(&(origin, verdict))?.growth()?.flat);
    match origin.opening {
        Opening::Inferred(place) => {
            let joined = Origin { opening: Opening::Seen(place), ..origin };
            let is_joined = series.contains_key(&(joined, verdict));
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
        recv_q_max: sum.recv_q.map_or(0, |range| u32::try_from(range.max).unwrap_or(u32::MAX)),
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
